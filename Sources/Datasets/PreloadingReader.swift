// SPDX-License-Identifier: Apache-2.0
// Datasets: samples decoded ahead of their use, in order, in bounded memory.

public import Diagnostics
internal import Glibc
public import Tensors

/// What to do with a sample that cannot be decoded.
public enum CorruptSamplePolicy: String, Sendable, CaseIterable, Codable {
  /// Stop with the error that names it.
  case fail
  /// Leave it out and count it. Missing files are errors all the same.
  case skip
}

/// Loads samples on threads of its own and hands them out in the order of the list.
///
/// At most `2 * threads` tensors are held or in the making, however many samples there are. One
/// caller at a time asks for the next. Releasing the reader stops its threads.
public final class PreloadingReader {
  /// The samples that policy `skip` left out so far, in order.
  public private(set) var skipped: [(sample: Sample, error: QuenchError)] = []

  private let shared: Monitor<State>
  private let count: Int
  private let policy: CorruptSamplePolicy
  private let acceptsNone: Bool
  private let threads: [pthread_t]
  private var delivered = 0
  private var failure: QuenchError?

  /// Starts loading.
  ///
  /// - Parameters:
  ///   - threads: at least 1.
  ///   - acceptsNone: it is no error when policy `skip` leaves nothing (one part of many).
  /// - Throws: `.work` when the system gives not even one thread.
  public init(
    samples: [Sample], preprocessing: Preprocessing, threads: Int = 2,
    policy: CorruptSamplePolicy = .fail, acceptsNone: Bool = false
  ) throws(QuenchError) {
    precondition(threads > 0, "the reader of options checks this first")
    self.policy = policy
    self.acceptsNone = acceptsNone
    count = samples.count
    shared = Monitor(
      State(samples: samples, preprocessing: preprocessing, window: 2 * threads))
    var started: [pthread_t] = []
    for _ in 0..<min(threads, samples.count) {
      guard let thread = PreloadingReader.start(shared) else { break }
      started.append(thread)
    }
    self.threads = started
    guard !started.isEmpty || samples.isEmpty else {
      throw QuenchError(.work, "the system gives no thread for decoding")
    }
  }

  deinit { stop() }

  /// The next sample that could be loaded; nil after the last one.
  ///
  /// - Throws: the error of the sample under policy `fail`, and again on every later call; under
  ///   `skip` only errors that are not `.data`, and `.data` at the end when nothing was usable.
  public func next() throws(QuenchError) -> (sample: Sample, tensor: Tensor)? {
    if let failure { throw failure }
    while delivered < count {
      let (sample, result) = take(delivered)
      delivered += 1
      switch result {
      case .success(let tensor): return (sample, tensor)
      case .failure(let error) where policy == .skip && error.kind == .data:
        skipped.append((sample, error))
      case .failure(let error): throw fail(error)
      }
    }
    if count > 0, skipped.count == count, !acceptsNone {
      throw fail(
        QuenchError(
          .data,
          "none of the \(count) samples could be used; the first: \(skipped[0].error.message)",
          at: skipped[0].error.place, try: skipped[0].error.remedy, because: skipped[0].error))
    }
    return nil
  }
}

// MARK: - Threads

extension PreloadingReader {
  private struct State {
    let samples: [Sample]
    let preprocessing: Preprocessing
    let window: Int
    /// The next sample that no thread has taken.
    var claimed = 0
    /// Samples before this one were handed out.
    var consumed = 0
    var ready: [Int: Result<Tensor, QuenchError>] = [:]
    var isStopped = false
  }

  private enum Claim {
    case load(Int, Sample, Preprocessing)
    case finish
  }

  private func take(_ index: Int) -> (Sample, Result<Tensor, QuenchError>) {
    let taken = shared.wait { state -> (Sample, Result<Tensor, QuenchError>)? in
      guard let result = state.ready.removeValue(forKey: index) else { return nil }
      state.consumed = index + 1
      return (state.samples[index], result)
    }
    shared.announce()
    return taken
  }

  private func fail(_ error: QuenchError) -> QuenchError {
    failure = error
    shared.enter { $0.isStopped = true }
    shared.announce()
    return error
  }

  private func stop() {
    shared.enter { $0.isStopped = true }
    shared.announce()
    for thread in threads { pthread_join(thread, nil) }
  }

  /// The thread owns a reference to the shared state, never to the reader, whose end stops it.
  private static func start(_ shared: Monitor<State>) -> pthread_t? {
    var thread = pthread_t()
    let owned = Unmanaged.passRetained(shared)
    let status = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        PreloadingReader.work(Unmanaged<Monitor<State>>.fromOpaque(context).takeRetainedValue())
        return nil
      }, owned.toOpaque())
    guard status == 0 else {
      owned.release()
      return nil
    }
    return thread
  }

  private static func work(_ shared: Monitor<State>) {
    while true {
      let claim = shared.wait { state -> Claim? in
        if state.isStopped || state.claimed == state.samples.count { return .finish }
        guard state.claimed < state.consumed + state.window else { return nil }
        defer { state.claimed += 1 }
        return .load(state.claimed, state.samples[state.claimed], state.preprocessing)
      }
      guard case .load(let index, let sample, let preprocessing) = claim else { return }
      let result: Result<Tensor, QuenchError>
      do throws(QuenchError) {
        result = .success(try SampleLoader.load(sample, preprocessing))
      } catch {
        result = .failure(error)
      }
      shared.enter { $0.ready[index] = result }
      shared.announce()
    }
  }
}
