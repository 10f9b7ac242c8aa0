// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "export")
}
