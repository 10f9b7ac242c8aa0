// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: what people built for: the figures, the layers in FP16, the bundle.

internal import Artifacts
internal import Calibration
internal import Diagnostics
internal import Finetuning
internal import Glibc
internal import Measurement
internal import Pipeline

/// The tables at the end of a build.
enum ResultTables {
  /// Shows the figures of each model that was evaluated or judged, and the bundles that were packed.
  ///
  /// - Parameters:
  ///   - finished: first outputs of the edges that ended.
  ///   - failed: those of them that failed.
  /// - Returns: whether anything was shown.
  static func show(
    of finished: Set<String>, failed: Set<String>
  ) throws(QuenchError) -> Bool {
    // A recipe that cannot be read has been told by the edge that reads it.
    guard !finished.isEmpty, let recipe = try? Recipe.read(Layout.recipe) else { return false }
    var isShown = false
    for model in recipe.models {
      let files = Layout(out: recipe.out, model: model)
      guard finished.contains(files.evaluation) || finished.contains(files.gate),
        access(files.evaluation, F_OK) == 0
      else { continue }
      let evaluation = try ArtifactJSON.read(EvaluationReport.self, from: files.evaluation)
      Terminal.print("\n" + Style.output.bold(model.name) + "\n" + evaluation.table)
      isShown = true
      if let training = training(files) { Terminal.print(training) }
      if let coverage = coverage(files) { Terminal.print(coverage) }
    }
    for bundle in recipe.bundles {
      let path = Layout.bundle(bundle.name, out: recipe.out)
      if !failed.isEmpty, !finished.contains(path) || failed.contains(path) {
        if access(path, F_OK) == 0 {
          Terminal.print("\nbundle  not packed; \(path) is of an earlier build")
        }
        continue
      }
      guard finished.contains(path) else { continue }
      var status = stat()
      guard stat(path, &status) == 0 else { continue }
      Terminal.print("\nbundle  \(path), \(status.st_size) bytes")
    }
    return isShown
  }

  /// Which network the guard of fine-tuning hands on.
  private static func training(_ files: Layout) -> String? {
    guard files.isTuned,
      let report = try? ArtifactJSON.read(TrainingReport.self, from: files.tuningReport)
    else { return nil }
    return "training   \(report.sentence)"
  }

  private static func coverage(_ files: Layout) -> String? {
    // Not every model has a coverage, and one of another version is shown by nobody here.
    guard let table = try? ArtifactJSON.read(CoverageTable.self, from: files.coverage) else {
      return nil
    }
    let short = table.tensors.values.count { $0.verdict != .covered }
    return "coverage   \(table.verdict.rawValue) on \(table.samples) other images"
      + (short == 0
        ? "" : ": \(short) of \(table.tensors.count) ranges clip too much, see report.html")
  }
}
