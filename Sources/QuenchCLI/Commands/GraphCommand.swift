// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct GraphCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "graph")
}
