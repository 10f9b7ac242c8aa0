// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: where the build side and the model side meet: what the generator must know of models.

internal import Artifacts
internal import Compilation
internal import Datasets
internal import Diagnostics
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
        return Toolchain.find(environment: Environment.all)?.versionFiles ?? []
      })
  }

  private static func listing(_ source: SampleSource) throws(QuenchError) -> SampleListing {
    let data: DataSource
    do throws(QuenchError) {
      data = try DataSource(
        images: source.arrays == nil ? source.images : source.imagesKey, list: source.list,
        where: source.filter, root: source.root, arrays: source.arrays, labels: source.labels,
        labelOffset: source.labelOffset, limit: source.limit)
    } catch {
      throw error.located(at: .option(source.key))
    }
    let listing = try DatasetListing.samples(of: data)
    let entries = listing.samples.map { sample in
      var bare = sample
      bare.label = nil
      return SampleListing.Entry(line: bare.line, label: sample.label, file: sample.path)
    }
    return SampleListing(entries: entries, dependencies: listing.directories + listing.files)
  }

  private static func check(_ model: ModelRecipe) throws(QuenchError) {
    let place = Place.option("models.\(model.name)")
    do throws(QuenchError) {
      _ = try SoCTable.soc(named: model.target.soc)
      let steps = try ArtifactJSON.encodePlain(model.preprocess)
      _ = try Preprocessing(json: steps, path: "\(Layout.recipe): models.\(model.name).preprocess")
    } catch {
      throw error.located(at: place)
    }
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
