// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

struct BundleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bundle")
}
