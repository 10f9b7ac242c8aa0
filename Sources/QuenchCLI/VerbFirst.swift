// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench -C dir build` means `quench build -C dir`.

internal import ArgumentParser

/// Puts the verb before the options, as ninja and git let users write them after.
enum VerbFirst {
  /// Options of the verbs around the build that take a value in the next word.
  private static let valued: Set<String> = [
    "-C", "-f", "-j", "-k", "-l", "-d", "--jobs", "--trace",
  ]

  /// The names of all verbs.
  static var verbs: [String] {
    var names: [String] = []
    for group in RootCommand.configuration.groupedSubcommands {
      for verb in group.subcommands { names += [verb.configuration.commandName].compactMap { $0 } }
    }
    return names
  }

  /// The arguments with the verb first, where leading options stand before one.
  static func arranged(_ arguments: [String]) -> [String] {
    var index = 0
    while index < arguments.count, arguments[index].hasPrefix("-"), arguments[index] != "--" {
      index += valued.contains(arguments[index]) ? 2 : 1
    }
    guard index > 0, index < arguments.count, verbs.contains(arguments[index]) else {
      return arguments
    }
    return [arguments[index]] + arguments[..<index] + arguments[(index + 1)...]
  }
}
