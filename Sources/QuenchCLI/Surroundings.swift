// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: where the build side and the model side meet: what the generator must know of models.

internal import Artifacts
internal import Compilation
internal import Datasets
internal import Diagnostics
internal import Finetuning
internal import Glibc
internal import ONNXModel
internal import ONNXRuntime
internal import Pipeline

extension Surroundings {
  /// Answers from the modules that know, on this machine.
  static func ofThisMachine() -> Surroundings {
    Surroundings(
      list: Surroundings.listing, check: Surroundings.check,
      // A library that is named but not there is the error of the stage that loads it.
      runtimeFiles: [RuntimeLibrary.find()].compactMap { $0 }.filter { access($0, F_OK) == 0 },
      compilerFiles: { compiler in
        guard compiler != "host" else { return [] }
        guard let found = Toolchain.find(environment: Environment.all) else { return [] }
        return [found.path] + found.versionFiles
      })
  }

  private static func listing(_ source: SampleSource) throws(QuenchError) -> SampleListing {
    do throws(QuenchError) {
      let data = try DataSource(
        images: source.arrays == nil ? source.images : source.imagesKey, list: source.list,
        where: source.filter, root: source.root, arrays: source.arrays, labels: source.labels,
        labelOffset: source.labelOffset, limit: source.limit)
      let listing = try DatasetListing.samples(of: data)
      let entries = listing.samples.map { sample in
        var bare = sample
        bare.label = nil
        return SampleListing.Entry(
          line: bare.line, label: sample.label, file: sample.path,
          position: HeldBackPart.position(of: sample))
      }
      return SampleListing(entries: entries, dependencies: listing.directories + listing.files)
    } catch {
      throw source.located(error)
    }
  }

  private static func check(_ model: ModelRecipe) throws(QuenchError) {
    do throws(QuenchError) {
      _ = try SoCTable.soc(named: model.target.soc)
    } catch {
      throw refused(
        error, model, "target", remedy: error.remedy?.replacing("--soc ", with: "soc: "))
    }
    do throws(QuenchError) {
      let steps = try ArtifactJSON.encodePlain(model.preprocess)
      _ = try Preprocessing(json: steps, path: Layout.recipe)
    } catch {
      throw refused(error, model, "preprocess", remedy: error.remedy)
    }
  }

  /// What another module refused, as a fault of quench.yaml.
  private static func refused(
    _ error: QuenchError, _ model: ModelRecipe, _ key: String, remedy: String?
  ) -> QuenchError {
    QuenchError(
      .data, error.message, at: model.places[key] ?? .option("models.\(model.name).\(key)"),
      try: remedy, because: error)
  }
}

/// The environment of this process.
enum Environment {
  static var all: [String: String] {
    var variables: [String: String] = [:]
    var cursor = environ
    while let entry = cursor.pointee {
      let text = String(cString: entry)
      if let equals = text.firstIndex(of: "=") {
        variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
      }
      cursor += 1
    }
    return variables
  }
}
