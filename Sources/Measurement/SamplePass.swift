// SPDX-License-Identifier: Apache-2.0
// Measurement: every sample once, by several workers, with results in the samples' order.

internal import Datasets
internal import Diagnostics
internal import Synchronization
internal import Tensors

/// Reports that `done` of `total` samples are through. Called from several threads, one at a time.
public typealias Progress = @Sendable (_ done: Int, _ total: Int) -> Void

/// One pass over samples: they are decoded ahead, worked on by several workers, and the workers'
/// results are folded in the samples' order, so that sums do not depend on the number of workers.
struct SamplePass: Sendable {
  var samples: [Sample]
  var preprocessing: Preprocessing
  var policy: CorruptSamplePolicy
  /// It is no error when policy `skip` leaves no sample at all.
  var acceptsNone: Bool
  /// Threads that run the model.
  var workers: Int
  /// Called under a lock after each sample.
  var progress: Progress

  init(
    _ samples: [Sample], _ preprocessing: Preprocessing, policy: CorruptSamplePolicy, threads: Int?,
    acceptsNone: Bool = false, progress: @escaping Progress
  ) {
    self.acceptsNone = acceptsNone
    self.samples = samples
    self.preprocessing = preprocessing
    self.policy = policy
    self.workers = max(1, min(threads ?? Workers.processorCount, samples.count))
    self.progress = progress
  }

  /// What is shared by the workers.
  private struct State<Partial, Total> {
    var done = 0
    var total: Total
    /// Results that wait for an earlier sample's.
    var waiting: [Int: (Sample, Partial)] = [:]
    var folded = 0
    var failure: (index: Int, error: QuenchError)?

    /// Keeps the failure of the earliest sample: samples are handed out in order, so all earlier
    /// ones are tried too, and which error is reported does not depend on the workers' speed.
    mutating func fail(_ index: Int, _ error: QuenchError) {
      if index < failure?.index ?? Int.max { failure = (index, error) }
    }
  }

  /// Runs the pass.
  ///
  /// - Parameters:
  ///   - total: what results are folded into.
  ///   - work: called with the worker's number and a sample, on several threads at once.
  ///   - fold: called in the samples' order, one call at a time.
  /// - Returns: the folded total, and the samples that were skipped because they are corrupt.
  /// - Throws: the error of the earliest sample that failed.
  func run<Partial: Sendable, Total: Sendable>(
    into total: Total,
    work: @escaping @Sendable (_ worker: Int, Sample, Tensor) throws(QuenchError) -> Partial,
    fold: @escaping @Sendable (inout Total, Sample, Partial) -> Void
  ) throws(QuenchError) -> (total: Total, skipped: [(sample: Sample, error: QuenchError)]) {
    guard !samples.isEmpty else {
      throw QuenchError(.data, "there is no sample to measure with", try: "more files in `data:`")
    }
    let feed = SampleFeed(
      try PreloadingReader(
        samples: samples, preprocessing: preprocessing, threads: workers, policy: policy,
        acceptsNone: acceptsNone))
    let state = Mutex(State<Partial, Total>(total: total))

    // Next sample with its number, in order; nil at the end or after a failure.
    let next: @Sendable () -> (Int, Sample, Tensor)? = {
      if state.withLock({ $0.failure != nil }) { return nil }
      let (number, item) = feed.next()
      switch item {
      case .success(let item): return item.map { (number, $0.sample, $0.tensor) }
      case .failure(let error):
        state.withLock { $0.fail(number, error) }
        return nil
      }
    }

    let count = samples.count
    Workers.run(workers) { worker in
      while let (number, sample, tensor) = next() {
        do throws(QuenchError) {
          let partial = try work(worker, sample, tensor)
          state.withLock { state in
            state.waiting[number] = (sample, partial)
            while let (sample, partial) = state.waiting.removeValue(forKey: state.folded) {
              fold(&state.total, sample, partial)
              state.folded += 1
            }
            state.done += 1
            progress(state.done, count)
          }
        } catch {
          state.withLock { $0.fail(number, error) }
        }
      }
    }

    let (folded, failure) = state.withLock { ($0.total, $0.failure) }
    if let failure { throw failure.error }
    return (folded, feed.skipped)
  }
}

/// The reader, numbered and shared by the workers.
///
/// `@unchecked Sendable`: the reader and the count are touched under `lock` alone, or after the
/// workers have ended.
private final class SampleFeed: @unchecked Sendable {
  private let reader: PreloadingReader
  private let lock = Mutex(())
  private var handedOut = 0

  init(_ reader: PreloadingReader) { self.reader = reader }

  /// The next sample and its number among those that could be decoded.
  func next() -> (Int, Result<(sample: Sample, tensor: Tensor)?, QuenchError>) {
    lock.withLock { _ in
      let number = handedOut
      do throws(QuenchError) {
        let item = try reader.next()
        if item != nil { handedOut += 1 }
        return (number, .success(item))
      } catch {
        return (number, .failure(error))
      }
    }
  }

  var skipped: [(sample: Sample, error: QuenchError)] { reader.skipped }
}
