// SPDX-License-Identifier: Apache-2.0
// Pipeline: the versions of our own verbs.

/// The integer that stands for a stage's code in the key of its edges.
///
/// The digest of the binary is not in the key, else every new build of quench would redo all work.
/// So: raise a stage's number whenever the same inputs give other bytes. A test holds golden digests
/// of each stage's output and fails when the bytes change and the number does not.
public enum StageVersion {
  /// Version by verb.
  public static let all: [String: Int] = [
    "fold": 1, "observe": 1, "merge": 1, "calibrate": 1, "assess": 1, "coverage": 1, "config": 1,
    "correct": 1, "finetune": 6,
    "quantize": 2, "compile": 1, "evaluate": 2, "gate": 1, "report": 1, "pack": 1,
  ]
}
