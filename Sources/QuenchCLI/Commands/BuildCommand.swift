// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct BuildCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "build")
}
