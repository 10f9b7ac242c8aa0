// SPDX-License-Identifier: Apache-2.0
// Measurement: evaluation.json, and the same figures for people.

public import Artifacts
public import Calibration
public import Diagnostics

/// A share of samples.
public struct Share: Codable, Sendable, Equatable {
  /// 0…1.
  public var value: Double
  /// Its standard error, √(p(1 − p)/n), 0…0.5.
  public var standardError: Double

  /// Makes a share; see the properties.
  public init(value: Double, standardError: Double) {
    self.value = value
    self.standardError = standardError
  }
}

/// The float model against the quantised one: the content of `evaluation.json`.
public struct EvaluationReport: JSONArtifact, Equatable {
  /// "quench.evaluation".
  public static let format = "quench.evaluation"
  /// 1.
  public static let version = 1

  /// What was evaluated: `qdq`, or `om (host-built, simulated on the CPU)`.
  public var candidate: String
  /// What ran both models.
  public var runtime: String
  /// Samples that ran.
  public var samples: Int
  /// Samples that have a label; 0 when the model is no classifier.
  public var labelled: Int
  /// Samples that were left out because they are corrupt.
  public var skipped: Int
  /// What `drop`, `better` and `worse` are about.
  public var metric: Metric
  /// The samples are those that set the ranges, for want of others: the figures flatter.
  public var onCalibrationSamples = false
  /// Share of labelled samples that the float model names rightly; nil without labels.
  public var fp32Top1: Share?
  /// The same of the candidate.
  public var int8Top1: Share?
  /// Share of labelled samples whose label is among the float model's first five.
  public var fp32Top5: Share?
  /// The same of the candidate.
  public var int8Top5: Share?
  /// Loss of the metric in percentage points, below 0 for a gain; nil without labels.
  public var drop: Double?
  /// Its standard error in percentage points, from the paired counts.
  public var dropError: Double?
  /// Labelled samples that only the candidate has right by the metric.
  public var better: Int?
  /// Labelled samples that only the float model has right by the metric.
  public var worse: Int?
  /// Share of samples for which both name the same class; nil when the model is no classifier.
  public var agreement: Share?
  /// 10·log₁₀(Σy² / Σ(y − ŷ)²) in decibel over all samples, of the class scores before a final
  /// Softmax, or of the only output; nil when there are several outputs.
  public var sqnrDecibel: ExtendedDouble?
  /// The same after each sample's mean over the classes was taken off both sides: what Softmax sees.
  public var centeredSqnrDecibel: ExtendedDouble?
  /// Σyŷ / √(Σy²Σŷ²) of the same tensor, −1…1.
  public var cosine: Double?
  /// Every float32 output.
  public var outputs: [Output]
  /// Bytes of the float model's file.
  public var fp32Bytes: Int
  /// Bytes of the candidate's file.
  public var candidateBytes: Int
  /// Candidate bytes ÷ float bytes.
  public var sizeRatio: Double

  /// Layers computed in INT8, if the configuration was given.
  public var int8Layers: Int?
  /// The layers that stayed FP16, if the configuration was given.
  public var fp16Layers: [String]?

  /// What the network came to before it was fine-tuned; nil when it was not.
  public var ptq: Untrained?

  /// The figures of PTQ over the same samples.
  public struct Untrained: Codable, Sendable, Equatable {
    /// Share of labelled samples named rightly; nil without labels.
    public var top1: Share?
    /// Share of labelled samples whose label is among the first five.
    public var top5: Share?
    /// Loss of the metric in percentage points; nil without labels.
    public var drop: Double?
    /// Its standard error in percentage points.
    public var dropError: Double?
    /// Share of samples for which the float model names the same class.
    public var agreement: Share?
    /// As in the report.
    public var sqnrDecibel: ExtendedDouble?
  }

  /// What accuracy is measured by.
  public enum Metric: String, Codable, Sendable {
    /// The label is the first class.
    case top1
    /// The label is among the first five classes.
    case top5
  }

  /// How near one output is.
  public struct Output: Codable, Sendable, Equatable {
    /// The output of the model.
    public var name: String
    /// The tensor that was compared: the output, or what its final Softmax reads.
    public var compared: String
    /// As in the report.
    public var sqnrDecibel: ExtendedDouble
    /// As in the report.
    public var cosine: Double

    /// Makes an entry; see the properties.
    public init(name: String, compared: String, sqnrDecibel: ExtendedDouble, cosine: Double) {
      self.name = name
      self.compared = compared
      self.sqnrDecibel = sqnrDecibel
      self.cosine = cosine
    }
  }

  /// Makes a report without accuracy figures, which are set afterwards.
  public init(
    candidate: String, runtime: String, metric: Metric = .top1, samples: Int,
    skipped: Int = 0, fp32Bytes: Int, candidateBytes: Int
  ) {
    self.candidate = candidate
    self.runtime = runtime
    self.samples = samples
    self.skipped = skipped
    self.metric = metric
    labelled = 0
    self.fp32Bytes = fp32Bytes
    self.candidateBytes = candidateBytes
    outputs = []
    sizeRatio = fp32Bytes > 0 ? Double(candidateBytes) / Double(fp32Bytes) : 0
  }
}

// MARK: - PTQ beside QAT

extension EvaluationReport {
  /// Takes over the figures of the network without training.
  ///
  /// - Throws: `.data` when they are of other samples or another metric.
  public mutating func show(beside report: EvaluationReport) throws(QuenchError) {
    guard report.samples == samples, report.labelled == labelled, report.metric == metric else {
      throw QuenchError(
        .data, "the evaluation of the network without training is of other samples",
        try: "quench evaluate with the same --samples and --metric")
    }
    ptq = report.figures
  }

  /// Whether the network that was evaluated is the one without training: nothing that is trained
  /// keeps every figure, the noise included.
  var isUntrained: Bool { ptq == figures }

  private var figures: Untrained {
    Untrained(
      top1: int8Top1, top5: int8Top5, drop: drop, dropError: dropError, agreement: agreement,
      sqnrDecibel: sqnrDecibel)
  }
}

// MARK: - Gate

extension EvaluationReport {
  /// Holds the drop of the metric against a limit.
  ///
  /// Without labels the share of samples for which the class changed stands in: no drop can be
  /// larger.
  /// - Parameters:
  ///   - maxDrop: percentage points.
  ///   - path: where the report lies, for messages.
  /// - Throws: `.verdict` when the drop is larger; `.data` when the model is no classifier.
  public func check(maxDrop: Double, path: String) throws(QuenchError) {
    let limit = FixedText.number(maxDrop, 2)
    let remedy = "keep more layers in FP16 (`precision:`), another method, or a larger `maxDrop:`"
    if let drop {
      guard drop > maxDrop else { return }
      throw QuenchError(
        .verdict,
        "\(metric.rawValue) drops by \(FixedText.number(drop, 2)) points, more than the limit of "
          + limit, at: .file(path), try: remedy)
    }
    guard let agreement else {
      throw QuenchError(
        .data, "there is no accuracy to hold against maxDrop: the model is no classifier",
        at: .file(path), try: "remove `maxDrop:`")
    }
    let changed = 100 * (1 - agreement.value)
    guard changed > maxDrop else { return }
    throw QuenchError(
      .verdict,
      "the class changes for \(FixedText.number(changed, 2)) % of the samples, more than the "
        + "limit of \(limit) (there are no labels)", at: .file(path),
      try: "give labels, so that the drop itself can be measured; or \(remedy)")
  }
}
