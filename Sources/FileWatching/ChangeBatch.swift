// SPDX-License-Identifier: Apache-2.0
// FileWatching: what has changed, as the caller sees it.

/// Changes that came close together and then stopped coming.
public struct ChangeBatch: Sendable, Equatable {
  /// Paths that may have changed, appeared or gone, in order of their bytes; each starts with one
  /// of the watched paths as the caller wrote it. They are hints: whether content differs is for
  /// the caller to find out. Empty when the waiting time was over.
  public var paths: [String]
  /// Whether the kernel dropped events: then anything may have changed, not only `paths`, and all
  /// that is watched must be looked at.
  public var overflow: Bool

  /// Makes a batch.
  public init(paths: [String], overflow: Bool = false) {
    self.paths = paths
    self.overflow = overflow
  }
}
