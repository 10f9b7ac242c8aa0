// SPDX-License-Identifier: Apache-2.0
// Measurement: the file whose accuracy is in question.

internal import Artifacts
internal import Compilation
internal import Diagnostics
internal import ONNXModel

/// A quantised model that can be run here, and what kind of file it came from.
struct Candidate: Sendable {
  var model: Model
  /// `EvaluationReport.candidate`.
  var kind: String
  var sizeInBytes: Int

  /// What an OM file begins with.
  private static let magic = Array("IMOD".utf8)

  /// Reads a QDQ model or an OM; which of them is seen from the content.
  ///
  /// - Parameter standIn: the QDQ model to run in the place of an OM that only a device can run.
  /// - Throws: `.unavailable` for such an OM without a stand-in.
  static func read(_ path: String, standIn: String?) throws(QuenchError) -> Candidate {
    let bytes = try FileContent.read(path)
    guard bytes.starts(with: magic) else {
      return Candidate(
        model: try Model.decode(bytes, path: path), kind: EvaluationReport.qdq,
        sizeInBytes: bytes.count)
    }
    let file = try OMFile.decode(bytes, path: path)
    guard file.isHostBuilt else {
      guard let standIn else {
        throw QuenchError(
          .unavailable, "this OM was made by Huawei's compiler and runs on its device only",
          at: .file(path), try: "give the QDQ model with --qdq: its integers are the same")
      }
      return Candidate(
        model: try Model.read(standIn), kind: EvaluationReport.deviceOM,
        sizeInBytes: bytes.count)
    }
    return Candidate(
      model: try HostModel.decode(file), kind: EvaluationReport.hostOM,
      sizeInBytes: bytes.count)
  }
}
