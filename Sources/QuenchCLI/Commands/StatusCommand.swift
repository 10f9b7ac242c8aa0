// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "status")
}
