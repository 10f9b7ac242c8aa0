// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: what all stage verbs share.

public import ArgumentParser
internal import Artifacts
internal import Datasets
internal import Diagnostics
internal import Glibc
internal import Pipeline

/// `--stage N`: the version of the verb's code that the rules were written for.
struct StageOptions: ParsableArguments {
  @Option(name: .customLong("stage"), help: .hidden)
  var stage: Int?

  /// Refuses rules of another quench: outputs of two versions must never mix.
  func check(_ verb: String) throws(QuenchError) {
    guard let stage, let own = StageVersion.all[verb], stage != own else { return }
    throw QuenchError(
      .usage,
      "the rules want version \(stage) of \"quench \(verb)\"; this quench has version \(own)",
      try: "rm .quench/build.ninja, then quench build")
  }
}

/// Options of the verbs that run a model over samples.
struct SampleOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The preprocessing steps.", valueName: "json"))
  var preprocess: String

  @Option(help: ArgumentHelp("The samples, one a line.", valueName: "file"))
  var samples: String

  @Option(help: "What to do with an image that cannot be decoded: fail or skip.")
  var onCorrupt: CorruptSamplePolicy = .fail

  @Option(help: "Worker threads; results do not depend on it.")
  var threads: Int = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}

extension CorruptSamplePolicy: ExpressibleByArgument {}

/// Reports progress through the pipe that the engine gives to edges with `progress = 1`.
///
/// Lines `done total`, perhaps with a text, and lines `note` with a text. Without the pipe nothing
/// is written.
enum StageProgress {
  private static let descriptor = Style.environment("QUENCH_PROGRESS_FD").flatMap(Int32.init)

  /// Whether somebody listens.
  static var isThere: Bool { descriptor != nil }

  static let report: @Sendable (_ done: Int, _ total: Int) -> Void = { say("\($0) \($1)") }

  /// How far it is, in words of its own too.
  static func report(_ done: Int, _ total: Int, _ detail: String) {
    say("\(done) \(total) \(detail)")
  }

  /// Something to be shown at once, and to stay.
  static func note(_ text: String) { say("note \(text)") }

  private static func say(_ line: String) {
    guard let descriptor else { return }
    // Lines are far below PIPE_BUF, so writes of several threads do not mix.
    Terminal.write(descriptor, String(line.prefix(1000)) + "\n")
  }
}

extension SampleOptions {
  func list() throws(QuenchError) -> [Sample] { try SampleList.read(samples) }

  func steps() throws(QuenchError) -> Preprocessing {
    try Preprocessing(json: FileContent.read(preprocess), path: preprocess)
  }
}

/// Tells of the images that policy `skip` left out, once, at the end.
enum SkippedSamples {
  static func report(_ skipped: [(sample: Sample, error: QuenchError)]) {
    guard let first = skipped.first else { return }
    Terminal.warn(
      "skipped \(skipped.count) of the images: \(first.sample.name): \(first.error.message)")
    for (sample, error) in skipped.dropFirst() {
      Terminal.note("  and \(sample.name): \(error.message)")
    }
  }
}
