// SPDX-License-Identifier: Apache-2.0
// BuildEngine: commands for editors and analysers (Clang's "JSON Compilation Database").

/// One command of a compilation database.
public struct CompilationCommand: Codable, Sendable {
  /// Where the command runs.
  public var directory: String
  /// The whole command.
  public var command: String
  /// The first input.
  public var file: String
  /// The first output.
  public var output: String

  /// The command of an edge; nil for an alias and for an edge without inputs.
  ///
  /// - Parameter expands: writes the content of a response file in place of its name.
  public init?(_ edge: EdgeDetails, directory: String, expandingResponseFile expands: Bool) {
    guard !edge.isPhony, let file = edge.prerequisites.first else { return nil }
    self.directory = directory
    self.file = file
    output = (edge.outputs + edge.implicitOutputs).first ?? ""
    command = edge.command
    let reference = "@" + edge.rspfile
    if expands, !edge.rspfile.isEmpty, let range = command.firstRange(of: reference) {
      command.replaceSubrange(range, with: edge.rspfileContent.replacing("\n", with: " "))
    }
  }
}
