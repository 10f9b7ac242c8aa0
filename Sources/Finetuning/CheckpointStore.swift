// SPDX-License-Identifier: Apache-2.0
// Finetuning: where checkpoints lie, and which of them a run can continue from.

internal import Artifacts
internal import Diagnostics
internal import Glibc

/// The checkpoints of one model: the latest, and the one where runs of other lengths part.
///
/// A run that is made longer continues from the second: up to there it did exactly what a longer
/// run does, so that the result has the bytes of one that was longer from the start.
public struct CheckpointStore: Sendable {
  /// The directory; made when it is not there.
  public let directory: String
  /// Seconds between two checkpoints within an epoch.
  public var seconds: Double

  /// Checkpoints in a directory of their own.
  public init(directory: String, seconds: Double = 60) {
    self.directory = directory
    self.seconds = seconds
  }

  var latest: String { "\(directory)/latest.checkpoint" }
  var branch: String { "\(directory)/branch.checkpoint" }

  /// Removes what processes that were killed while they wrote left behind.
  func removeRemains() {
    guard let handle = opendir(directory) else { return }
    defer { closedir(handle) }
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      // `FileContent.replace` writes beside the target: `.tmp` and the process's number.
      guard let mark = name.firstRange(of: ".checkpoint.tmp"),
        let process = pid_t(name[mark.upperBound...]), kill(process, 0) != 0, errno == ESRCH
      else { continue }
      unlink("\(directory)/\(name)")
    }
  }

  func write(_ checkpoint: Checkpoint, to path: String) throws(QuenchError) {
    try FileContent.makeDirectory(directory)
    do throws(QuenchError) {
      try FileContent.replace(path, with: checkpoint.encode())
    } catch {
      throw QuenchError(
        error.kind, error.message, at: .file(path),
        try: "free some space and build again: training continues from the last checkpoint",
        because: error)
    }
  }

  /// The checkpoint that gets furthest and that a run of `total` steps would have passed.
  func best(
    key: [UInt8], counts: [Int], settings: TrainingSettings, total: Int
  ) throws(QuenchError) -> Checkpoint? {
    var found: Checkpoint?
    for path in [latest, branch] where access(path, F_OK) == 0 {
      let bytes = try FileContent.read(path)
      guard let checkpoint = try Checkpoint.decode(bytes, key: key, counts: counts),
        settings.agree(before: checkpoint.state.step, totals: checkpoint.state.total, total),
        checkpoint.state.step > found?.state.step ?? -1
      else { continue }
      found = checkpoint
    }
    return found
  }
}
