// SPDX-License-Identifier: Apache-2.0
// Pipeline: faults that others find in what quench.yaml names, told with its line.

public import Diagnostics
internal import Glibc

extension SampleSource {
  /// A fault of the source, at the key that names the file or folder that is missing or unusable.
  ///
  /// What is wrong inside a file (a table without the column, a row of it) stays there.
  public func located(_ error: QuenchError) -> QuenchError {
    var located = error
    switch error.place {
    case nil:
      located.place = place(of: { error.message.contains("\"\($0)\"") }) ?? place
    case .file(let path) where error.kind == .noInput || !SampleSource.isFile(path):
      located.place = place(of: { $0 == path }) ?? error.place
    default:
      break
    }
    return located
  }

  /// Where the first path stands that `isMeant`.
  private func place(of isMeant: (String) -> Bool) -> Place? {
    let paths = [
      ("images", images), ("list", list), ("root", root), ("arrays", arrays), ("labels", labels),
    ]
    let key = paths.first { $0.1.map(isMeant) ?? false }?.0
    return key.flatMap { places[$0] }
  }

  private static func isFile(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }
}

extension Recipe {
  /// A missing file that the engine names, at the key that names it; the engine knows only its own
  /// manifest, where nobody wrote the line that it points at.
  public func located(_ error: QuenchError) -> QuenchError {
    for (path, place) in namedFiles where access(path, F_OK) != 0 {
      // The engine drops a leading "./".
      let name = path.trimmingPrefix("./")
      guard error.message.contains("'\(name)'") else { continue }
      var located = error
      located.place = place
      return located
    }
    return error
  }

  /// The files that are named one by one; samples are listed by the generator, which tells of theirs.
  private var namedFiles: [(path: String, place: Place)] {
    var files: [(path: String, place: Place)] = []
    for model in models {
      files.append((model.model, model.places["model"] ?? .option("models.\(model.name).model")))
      if let external = model.finetune?.external {
        files += zip(external.inputs, external.inputPlaces).map { ($0, $1) }
      }
    }
    for bundle in bundles { files += zip(bundle.include, bundle.includePlaces).map { ($0, $1) } }
    return files
  }
}
