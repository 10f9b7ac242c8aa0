// SPDX-License-Identifier: Apache-2.0
// Diagnostics: the one error value, where it points, and which exit code it means.

/// What went wrong, in the one form that all of Quench throws.
///
/// Only `QuenchCLI` prints it and only `kind` decides the exit code.
public struct QuenchError: Error, Sendable {
  /// Decides the exit code and nothing else.
  public var kind: Kind
  /// One plain sentence, names quoted, no full stop.
  public var message: String
  /// The most exact place that is known.
  public var place: Place?
  /// A command to type or an edit to make.
  public var remedy: String?
  /// What was caught below, kept whole; printed only with `-v`.
  public var cause: (any Error)?

  /// Makes an error; see the properties for the form that each part takes.
  public init(
    _ kind: Kind, _ message: String, at place: Place? = nil, try remedy: String? = nil,
    because cause: (any Error)? = nil
  ) {
    self.kind = kind
    self.message = message
    self.place = place
    self.remedy = remedy
    self.cause = cause
  }

  /// The same error with a place, unless it already names one.
  public func located(at place: Place) -> QuenchError {
    guard self.place == nil else { return self }
    var copy = self
    copy.place = place
    return copy
  }
}

extension QuenchError {
  /// The kinds of failure. The raw value is the exit code (`README.md`, "Exit codes").
  public enum Kind: Int32, Sendable, CaseIterable {
    /// An edge or a stage failed.
    case work = 1
    /// A check said no: accuracy under its limit, coverage short, a digest that differs.
    case verdict = 2
    /// The command line is wrong.
    case usage = 64
    /// A model, manifest, configuration or stage file is malformed.
    case data = 65
    /// A named file is not there or cannot be read.
    case noInput = 66
    /// ONNX Runtime, atc or a device was not found.
    case unavailable = 69
    /// An invariant broke.
    case bug = 70
    /// Stopped by a signal.
    case interrupted = 130

    /// The exit code of the process.
    public var exitCode: Int32 { rawValue }
  }
}

extension QuenchError: CustomStringConvertible {
  /// The error as a person reads it: message, place, remedy, one line each.
  public var description: String {
    var text = message
    if let place { text += "\n   at  \(place)" }
    if let excerpt = place?.excerpt { text += "\n" + excerpt }
    if let remedy { text += "\n  try  \(remedy)" }
    return text
  }
}
