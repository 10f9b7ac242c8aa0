// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "why")
}
