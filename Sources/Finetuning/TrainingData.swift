// SPDX-License-Identifier: Apache-2.0
// Finetuning: the samples of a run: which train, which judge, and their pictures.

public import Datasets
public import Diagnostics
internal import ONNXModel
public import Tensors

/// The samples of a run.
///
/// Which of them are held back is decided by each sample's own name, so that adding or removing
/// others never moves one from judging to training. Not safe to share between threads.
public final class TrainingData {
  /// The usable samples, in the order of their list.
  public let samples: [Sample]
  /// Samples that could not be decoded and were left out, as the policy allows.
  public let skipped: [(sample: Sample, error: QuenchError)]
  /// Positions of the samples that train.
  public let trained: [Int]
  /// Positions of the samples that judge.
  public let heldBack: [Int]
  /// The shape of one sample, a leading 1 included.
  public let shape: [Int]

  private let load: (Sample) throws(QuenchError) -> Tensor
  private let isInterleaved: Bool
  private var cache: [Int: [Float]] = [:]
  private var cacheRoom: Int

  /// Decodes every sample once, to know that it is usable; keeps what fits.
  ///
  /// - Parameters:
  ///   - heldBackShare: share of the samples that judge; at least one judges unless it is 0.
  ///   - isInterleaved: pictures are `[1, H, W, C]`.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - cacheBytes: memory for decoded pictures; what does not fit is decoded again each time.
  ///   - load: decodes a sample.
  /// - Throws: `.data` when there are no samples, shapes differ, or nothing would train or judge.
  public init(
    _ all: [Sample], heldBackShare: Double, isInterleaved: Bool = false,
    policy: CorruptSamplePolicy = .fail, cacheBytes: Int = 512 << 20,
    load: @escaping (Sample) throws(QuenchError) -> Tensor
  ) throws(QuenchError) {
    self.load = load
    self.isInterleaved = isInterleaved
    cacheRoom = cacheBytes
    var usable: [Sample] = []
    var corrupt: [(sample: Sample, error: QuenchError)] = []
    var shape: [Int]?
    for sample in all {
      do throws(QuenchError) {
        let tensor = try load(sample)
        guard tensor.elementType == .float32 else {
          throw QuenchError(
            .usage, "a sample of \(tensor.elementType) elements cannot be trained with",
            at: .file(sample.name))
        }
        if let shape, shape != tensor.shape {
          throw QuenchError(
            .usage, "the sample has shape \(tensor.shape), the ones before it have \(shape)",
            at: .file(sample.name), try: "a step in `preprocess:` that gives all one size")
        }
        shape = tensor.shape
        if tensor.bytes.count <= cacheRoom {
          cache[usable.count] = tensor.floats
          cacheRoom -= tensor.bytes.count
        }
        usable.append(sample)
      } catch {
        // A shape that changes is no damaged file: it would be left out of everything else too.
        guard policy == .skip, error.kind == .data else {
          guard error.kind == .usage else { throw error }
          throw QuenchError(.data, error.message, at: error.place, try: error.remedy)
        }
        corrupt.append((sample, error))
      }
    }
    guard let shape else {
      throw QuenchError(
        .data, "there is no sample to train with",
        try: "more files in `data: calibration`, or `finetune: {data: …}`")
    }
    samples = usable
    skipped = corrupt
    self.shape = shape
    let held = HeldBackPart.indices(of: usable, share: heldBackShare)
    let judges = Set(held)
    heldBack = held
    trained = usable.indices.filter { !judges.contains($0) }
    guard !trained.isEmpty else {
      throw QuenchError(
        .data, "no sample is left to train with: \(held.count) of \(usable.count) are held back",
        try: "more files in `data: calibration`, or in the data to train on")
    }
  }
}

// MARK: - Pictures

extension TrainingData {
  /// The labels of samples.
  func labels(_ indices: [Int]) -> [Int?] { indices.map { samples[$0].label } }

  /// The pictures of samples, one after the other.
  func pictures(_ indices: [Int]) throws(QuenchError) -> [Float] {
    var batch: [Float] = []
    for index in indices { batch += try picture(index) }
    return batch
  }

  /// The pictures of samples as an epoch sees them.
  func pictures(
    _ indices: [Int], _ augmentation: Augmentation, _ random: CounterRandom, epoch: Int
  ) throws(QuenchError) -> [Float] {
    guard augmentation.isOn, let shape = PictureShape(shape, isInterleaved: isInterleaved) else {
      return try pictures(indices)
    }
    var batch: [Float] = []
    for index in indices {
      batch += augmentation.apply(
        to: try picture(index), shape: shape, random: random, epoch: epoch, index: index)
    }
    return batch
  }

  private func picture(_ index: Int) throws(QuenchError) -> [Float] {
    if let picture = cache[index] { return picture }
    let tensor = try load(samples[index])
    guard tensor.shape == shape else {
      throw QuenchError(
        .data, "the sample changed its shape from \(shape) to \(tensor.shape) during training",
        at: .file(samples[index].name))
    }
    return tensor.floats
  }

  /// Refuses samples that are not what the network reads, before any work starts.
  ///
  /// - Throws: `.data` naming the first sample: all have its shape.
  func checkShape(reads input: ValueInfo) throws(QuenchError) {
    guard let wanted = input.fixedShape, wanted != shape else { return }
    throw QuenchError(
      .data, "the sample has shape \(shape), but the model's input \"\(input.name)\" is \(wanted)",
      at: .file(samples[0].name), try: "change `preprocess:` or `inputs:` in quench.yaml")
  }

  /// Refuses labels that the network does not have, before any work starts.
  ///
  /// - Throws: `.data` naming the first sample without a label where `needed`, or with a bad one.
  func checkLabels(classes: Int, needed: Bool) throws(QuenchError) {
    for sample in samples {
      guard let label = sample.label else {
        guard needed else { continue }
        throw QuenchError(
          .data, "the loss needs labels, and this sample has none", at: .file(sample.name),
          try: "labels: in the data, or finetune: {loss: distillation}")
      }
      guard (0..<classes).contains(label) else {
        throw QuenchError(
          .data, "the label \(label) is outside the network's classes 0...\(classes - 1)",
          at: .file(sample.name), try: "labelOffset: in the data")
      }
    }
  }

  /// Whether every held-back sample has a label.
  var isLabelled: Bool { heldBack.allSatisfy { samples[$0].label != nil } }
}
