// SPDX-License-Identifier: Apache-2.0
// Measurement: what several networks answer to the same samples.

public import Datasets
public import Diagnostics
public import ONNXModel
internal import ONNXRuntime
internal import Quantization
internal import Tensors

/// The class scores of several networks, sample by sample.
public struct NetworkLogits: Sendable {
  /// One array a network, `[samples, classes]`.
  public var logits: [[Float]]
  /// Numbers in one answer.
  public var classes: Int
  /// What was run, in order: the samples less those left out.
  public var samples: [Sample]
  /// Samples that were left out because they are corrupt.
  public var skipped: [(sample: Sample, error: QuenchError)]

  /// Runs networks over samples as `Evaluation` does: a QDQ model sums codes.
  ///
  /// Where a Softmax ends the networks, what it reads is taken.
  /// - Parameters:
  ///   - reference: the float network.
  ///   - others: networks made from it, each with a name for messages.
  ///   - samples: what to run.
  ///   - preprocessing: turns a picture into the networks' input.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors. No number depends on it.
  ///   - progress: called after each sample.
  /// - Returns: nil when the networks are no classifiers: one output, `[1, classes]`.
  /// - Throws: `.data` when networks do not fit each other or an answer is not finite, naming
  ///   network and sample; `.unavailable` without ONNX Runtime.
  public static func compute(
    reference: Model, others: [(name: String, model: Model)], samples: [Sample],
    preprocessing: Preprocessing, policy: CorruptSamplePolicy = .fail, threads: Int? = nil,
    progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> NetworkLogits? {
    var parts: [Part] = []
    for (name, model) in others {
      let plan = try ComparisonPlan(reference: reference, candidate: model)
      guard let index = plan.classIndex else { return nil }
      if parts.isEmpty {
        parts.append(try Part("the float model", reference, plan.referenceTensors[index]))
      }
      parts.append(try Part(name, model.summingCodes(), plan.candidateTensors[index]))
    }
    let runners = parts
    let pass = SamplePass(
      samples, preprocessing, policy: policy, threads: threads, progress: progress)
    let start = Totals(logits: Array(repeating: [], count: runners.count))
    let (totals, skipped) = try pass.run(into: start) {
      _, sample, tensor throws(QuenchError) -> [[Float]] in
      var answers: [[Float]] = []
      for runner in runners {
        try runner.network.check(tensor, of: sample)
        let answer = try runner.answer(tensor, of: sample)
        if let first = answers.first, first.count != answer.count {
          throw QuenchError(
            .data,
            "\(runner.name) has \(answer.count) classes, the float model \(first.count)")
        }
        answers.append(answer)
      }
      return answers
    } fold: { totals, sample, answers in
      for index in answers.indices { totals.logits[index] += answers[index] }
      totals.samples.append(sample)
    }
    let count = max(1, totals.samples.count)
    return NetworkLogits(
      logits: totals.logits, classes: (totals.logits.first?.count ?? 0) / count,
      samples: totals.samples, skipped: skipped)
  }

  private struct Totals: Sendable {
    var logits: [[Float]]
    var samples: [Sample] = []
  }

  private struct Part: Sendable {
    let name: String
    let network: SampledNetwork
    let session: Session
    let tensor: String

    init(_ name: String, _ model: Model, _ tensor: String) throws(QuenchError) {
      self.name = name
      self.tensor = tensor
      network = try SampledNetwork(model)
      session = try network.session(computing: [tensor])
    }

    func answer(_ input: Tensor, of sample: Sample) throws(QuenchError) -> [Float] {
      let answer = try session.run([network.input: input], outputs: [tensor])[0].floats
      guard answer.allSatisfy(\.isFinite) else {
        throw QuenchError(
          .data, "\(name) answers NaN or an infinity to this sample", at: .file(sample.name))
      }
      return answer
    }
  }
}
