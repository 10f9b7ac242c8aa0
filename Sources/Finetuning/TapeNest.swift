// SPDX-License-Identifier: Apache-2.0
// Finetuning: loop nests over tensors of any layout.

internal import CKernels

/// A loop nest over operands `a`, `b` and a result `y`.
struct TapeNest {
  let nest: ck_train_nest

  /// - Parameters:
  ///   - extents: at most 8, outermost first.
  ///   - a: the strides of an operand; likewise `b` and `y`.
  init(extents: [Int], a: [Int], b: [Int]? = nil, y: [Int]) {
    precondition(extents.count <= Int(CK_TRAIN_RANK), "the builder refuses higher ranks")
    var nest = ck_train_nest()
    nest.rank = extents.count
    func fill(_ to: UnsafeMutableRawBufferPointer, _ values: [Int]) {
      values.withUnsafeBytes { to.copyMemory(from: $0) }
    }
    withUnsafeMutableBytes(of: &nest.extent) { fill($0, extents) }
    withUnsafeMutableBytes(of: &nest.a) { fill($0, a) }
    withUnsafeMutableBytes(of: &nest.b) { fill($0, b ?? a) }
    withUnsafeMutableBytes(of: &nest.y) { fill($0, y) }
    self.nest = nest
  }

  /// A nest over a batch of blocks of `shape`, with the axes in the order of the result's memory.
  ///
  /// - Parameters:
  ///   - shape: ONNX's extents of the part that is visited.
  ///   - a: the strides of an operand along the same axes, and from sample to sample.
  init(
    samples: Int, shape: [Int], a: (strides: [Int], sample: Int),
    b: (strides: [Int], sample: Int)? = nil, y: (strides: [Int], sample: Int)
  ) {
    // Broadcast results do not occur, so strides of the result order its axes; ties are extents 1.
    let axes = shape.indices.sorted { y.strides[$0] > y.strides[$1] }
    func ordered(_ values: [Int]) -> [Int] { axes.map { values[$0] } }
    self.init(
      extents: [samples] + ordered(shape), a: [a.sample] + ordered(a.strides),
      b: b.map { [$0.sample] + ordered($0.strides) }, y: [y.sample] + ordered(y.strides))
  }
}

extension TapeTensor {
  /// Strides along the axes of a shape to which this tensor is broadcast, by ONNX's rules.
  func strides(broadcastTo rank: Int) -> (strides: [Int], sample: Int) {
    let missing = rank - shape.count
    let own = strides
    let result = (0..<rank).map { axis in
      axis < missing || shape[axis - missing] == 1 ? 0 : own[axis - missing]
    }
    return (result, isBatched ? count : 0)
  }
}
