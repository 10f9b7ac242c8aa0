// SPDX-License-Identifier: Apache-2.0
// BuildEngine: why an edge runs, as values.

/// A change of one line of a text.
public struct LineChange: Sendable, Equatable {
  /// From 1.
  public var line: Int
  /// What changed in the line; empty when the line is new.
  public var old: String
  /// What stands there now; empty when the line is gone.
  public var new: String

  /// A change; see the properties.
  public init(line: Int, old: String, new: String) {
    self.line = line
    self.old = old
    self.new = new
  }
}

/// Why an edge is stale.
public enum Reason: Sendable, Equatable {
  /// There is no record of a success.
  case neverBuilt
  /// The last run was cut short.
  case interrupted
  /// The last run failed.
  case failed
  /// An output is not there.
  case missingOutput(String)
  /// An output is not what the edge wrote.
  case outputChanged(String)
  /// The command is another one.
  case commandChanged(old: String, new: String)
  /// The response file has another path or content.
  case responseFileChanged(old: String, new: String)
  /// An environment variable has another value; nil means not set.
  case environmentChanged(name: String, old: String?, new: String?)
  /// The list of outputs is another one.
  case outputListChanged
  /// A program, or a script that the command names, has changed.
  case toolChanged(String)
  /// An input holds something else.
  case inputChanged(String, line: LineChange?)
  /// An input was added to the statement.
  case inputAdded(String)
  /// An input was taken from the statement.
  case inputRemoved(String)
  /// The inputs are the same in another order.
  case inputsReordered
  /// An input that the last run discovered holds something else or is gone.
  case discoveredChanged(String, line: LineChange?)
  /// An input changed while the command ran, so that nobody knows which state it read.
  case changedDuringRun(String)
  /// An alias without files: what depends on it always runs.
  case alwaysRuns(String)
  /// An input will be made anew first (dry runs and questions only).
  case inputWillChange(String)

  /// The file at fault, where there is one.
  public var culprit: String? {
    switch self {
    case .missingOutput(let path), .outputChanged(let path), .toolChanged(let path),
      .inputChanged(let path, _), .inputAdded(let path), .inputRemoved(let path),
      .discoveredChanged(let path, _), .changedDuringRun(let path), .alwaysRuns(let path),
      .inputWillChange(let path):
      path
    default: nil
    }
  }
}

extension Reason: CustomStringConvertible {
  /// The reason in words.
  public var description: String {
    switch self {
    case .neverBuilt: "it was never built here"
    case .interrupted: "its last run was cut short"
    case .failed: "its last run failed"
    case .missingOutput(let path): "\(path) is missing"
    case .outputChanged(let path): "\(path) is not what was written last"
    case .commandChanged(let old, let new): "command changed: \(old) -> \(new)"
    case .responseFileChanged(let old, let new): "response file changed: \(old) -> \(new)"
    case .environmentChanged(let name, let old, let new):
      "environment variable \(name) changed: \(old ?? "not set") -> \(new ?? "not set")"
    case .outputListChanged: "its list of outputs changed"
    case .toolChanged(let path): "\(path), which the command uses, changed"
    case .inputChanged(let path, let line), .discoveredChanged(let path, let line):
      "content of \(path) changed" + (line.map { ", \($0)" } ?? "")
    case .inputAdded(let path): "\(path) is a new input"
    case .inputRemoved(let path): "\(path) is no input any more"
    case .inputsReordered: "its inputs are in another order"
    case .changedDuringRun(let path): "\(path) changed while the last run read it"
    case .alwaysRuns(let path): "\(path) always counts as changed"
    case .inputWillChange(let path): "\(path) will be made anew"
    }
  }
}

extension LineChange: CustomStringConvertible {
  /// `line 14: a -> b`.
  public var description: String {
    if old.isEmpty { return "line \(line): new, \(new)" }
    if new.isEmpty { return "line \(line): gone, \(old)" }
    return "line \(line): \(old) -> \(new)"
  }
}
