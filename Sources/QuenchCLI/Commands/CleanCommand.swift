// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct CleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "clean")
}
