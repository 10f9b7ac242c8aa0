// SPDX-License-Identifier: Apache-2.0
// ONNXModel: which files beside the model hold its weights.

internal import Diagnostics

extension Model {
  /// The files that hold external data, each once, sorted; as given by the model's place.
  ///
  /// A tensor whose file is missing or refused is left out: reading it says what is wrong.
  public var externalDataFiles: [String] {
    var files: Set<String> = []
    for initializer in graph.initializers {
      if let path = initializer.externalFile { files.insert(path) }
    }
    return files.sorted()
  }
}
