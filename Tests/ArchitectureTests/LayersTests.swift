// SPDX-License-Identifier: Apache-2.0
// Reads the package description and the import lines of every source file.

import Foundation
import Testing

@Suite("Layers")
struct LayersTests {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// What a module may import beside what it declares: the C library and the essentials.
  static let system: Set<String> = ["Glibc", "FoundationEssentials", "Synchronization", "Swift"]

  /// Third-party products and the only modules that may import them.
  static let thirdParties = [
    "argumentParser": "ArgumentParser", "protobuf": "SwiftProtobuf", "yams": "Yams",
  ]

  /// The declared dependencies of our targets, in the order of the file.
  static func declared() throws -> [(name: String, dependencies: [String])] {
    let text = try String(contentsOf: root.appending(path: "Package.swift"), encoding: .utf8)
    var targets: [(position: String.Index, name: String, dependencies: [String])] = []
    let patterns = [
      /module\(\s*"(\w+)",\s*\[([^\]]*)\]\)/, /name: "(\w+)", dependencies: \[([^\]]*)\]/,
    ]
    for pattern in patterns {
      for match in text.matches(of: pattern) {
        let dependencies = match.2.split(separator: ",").map {
          $0.trimmingCharacters(in: .whitespacesAndNewlines.union(["\""]))
        }
        targets.append(
          (match.range.lowerBound, String(match.1), dependencies.filter { !$0.isEmpty }))
      }
    }
    return targets.sorted { $0.position < $1.position }.map { ($0.name, $0.dependencies) }
  }

  /// Modules imported by the files of a target.
  static func imports(of target: String) throws -> [(file: String, module: String)] {
    let folder = root.appending(path: "Sources/\(target)")
    guard
      let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    else { return [] }
    var found: [(String, String)] = []
    for case let file as URL in files where file.pathExtension == "swift" {
      // Generated code imports what its generator pleases.
      if file.path.contains("/Generated/") { continue }
      let text = try String(contentsOf: file, encoding: .utf8)
      for match in text.matches(
        of:
          /^(?:@\w+ )?(?:(?:public|internal|package|private|fileprivate) )?import (?:struct |class |enum |func )?(\w+)/
          .anchorsMatchLineEndings())
      {
        found.append((file.lastPathComponent, String(match.1)))
      }
    }
    return found
  }

  @Test("imports point down only, and only where Package.swift says so")
  func arrows() throws {
    let targets = try Self.declared()
    #expect(targets.count > 15)
    let byName = Dictionary(targets.map { ($0.name, $0.dependencies) }) { first, _ in first }
    func reach(_ name: String, _ seen: inout Set<String>) {
      for dependency in byName[name] ?? [] where byName[dependency] != nil {
        if seen.insert(dependency).inserted { reach(dependency, &seen) }
      }
    }
    for (name, dependencies) in targets where name != "TestSupport" {
      var allowed = Self.system
      reach(name, &allowed)
      // C targets and third parties do not pass through: only who names them may import them.
      allowed.formUnion(dependencies.map { Self.thirdParties[$0] ?? $0 })
      for (file, module) in try Self.imports(of: name) {
        #expect(allowed.contains(module), "\(name)/\(file) imports \(module)")
      }
    }
  }

  @Test("the build side knows nothing of models, the model side nothing of builds")
  func theBar() throws {
    let build: Set = ["BuildEngine", "FileWatching", "Bundling", "Pipeline"]
    let model: Set = [
      "ONNXModel", "ONNXRuntime", "Datasets", "Calibration", "Quantization", "Compilation",
      "Measurement", "Reporting", "Tensors",
    ]
    for name in build {
      for (file, module) in try Self.imports(of: name) {
        #expect(!model.contains(module), "\(name)/\(file) imports \(module)")
      }
    }
    for name in model {
      for (file, module) in try Self.imports(of: name) {
        #expect(!build.contains(module), "\(name)/\(file) imports \(module)")
      }
    }
  }

  @Test("a target depends only on targets that stand above it in Package.swift")
  func order() throws {
    var seen: Set<String> = ["CKernels", "CSystem", "CArchive", "CImage", "COnnxRuntime"]
    let targets = try Self.declared().filter { $0.name != "TestSupport" }
    for (name, dependencies) in targets where name != "quench" {
      for dependency in dependencies where Self.thirdParties[dependency] == nil {
        #expect(seen.contains(dependency), "\(name) stands above \(dependency)")
      }
      seen.insert(name)
    }
  }

  @Test("only QuenchCLI prints or exits")
  func printing() throws {
    let sources = Self.root.appending(path: "Sources")
    let files = try #require(
      FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
    for case let file as URL in files where file.pathExtension == "swift" {
      guard !file.path.contains("/QuenchCLI/"), !file.path.contains("/Generated/") else { continue }
      let text = try String(contentsOf: file, encoding: .utf8)
      #expect(!text.contains(/(^|[^.\w])print\(/), "\(file.lastPathComponent) prints")
      #expect(!text.contains(/(^|[^.\w_])exit\(/), "\(file.lastPathComponent) exits")
    }
  }

  @Test("every source file names its licence first")
  func licences() throws {
    for folder in ["Sources", "Tests"] {
      let files = try #require(
        FileManager.default.enumerator(
          at: Self.root.appending(path: folder), includingPropertiesForKeys: nil))
      for case let file as URL in files
      where ["swift", "c", "h"].contains(file.pathExtension) && !file.path.contains("/Generated/") {
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(
          text.hasPrefix("// SPDX-License-Identifier: Apache-2.0\n"), "\(file.lastPathComponent)")
      }
    }
  }
}
