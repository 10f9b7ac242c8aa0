// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct WatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "watch")
}
