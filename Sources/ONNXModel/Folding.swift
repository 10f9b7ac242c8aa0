// SPDX-License-Identifier: Apache-2.0
// ONNXModel: the model as the later stages want it.

public import Diagnostics

/// Brings a model into the form that all later stages work on.
public enum Folding {
  /// Folds a model.
  public static func fold(
    _ model: Model, inputs: [String: [Int]]
  ) throws(QuenchError) -> Model {
    model
  }
}
