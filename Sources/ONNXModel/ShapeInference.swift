// SPDX-License-Identifier: Apache-2.0
// ONNXModel: shapes of all tensors from the shapes of the inputs.

public import Diagnostics
public import Tensors

/// Element type and shape of a tensor, all extents known.
public struct TensorType: Sendable, Hashable {
  /// What one element is.
  public var elementType: ElementType
  /// Extents, outermost first.
  public var shape: [Int]

  /// Makes a type.
  public init(_ elementType: ElementType, _ shape: [Int]) {
    self.elementType = elementType
    self.shape = shape
  }
}

/// Shapes of all tensors from the shapes of the inputs.
public enum ShapeInference {
  /// Element type and shape of every tensor: inputs, constants, and what the nodes make.
  public static func infer(
    _ model: Model, inputs: [String: [Int]]
  ) throws(QuenchError) -> [String: TensorType] {
    [:]
  }
}
