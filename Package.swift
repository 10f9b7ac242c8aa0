// swift-tools-version: 6.1
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// The modules are layers: a target may depend only on targets that stand above it in this file.
// `Tests/ArchitectureTests` reads this file and the import lines and fails on any other arrow.

let language: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: language)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(
    name: name, dependencies: dependencies + ["TestSupport"],
    exclude: goldenFolders[name] ?? [], swiftSettings: language)
}

// Golden files are read from the source tree, never bundled.
let goldenFolders: [String: [String]] = [
  "CompilationTests": ["Golden"],
  "DatasetsTests": ["Golden"],
  "EndToEndTests": ["Golden"],
  "FinetuningTests": ["Golden"],
  "QuantizationTests": ["Golden"],
]

// Compiled into the binary, so that one file installs. `Sources/Pipeline/BuildRules` is a link to the
// folder that users read.
let ruleFiles = [
  "quench", "observe", "calibrate", "finetune", "quantize", "compile", "evaluate", "bundle",
]

let package = Package(
  name: "quench",
  products: [.executable(name: "quench", targets: ["quench"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
  ],
  targets: [
    // C shims: no policy, no printing.
    // Optimized in debug builds too: the kernels of training are twenty times slower without.
    .target(
      name: "CKernels", cSettings: [.unsafeFlags(["-O3", "-fno-math-errno"])],
      linkerSettings: [.linkedLibrary("dl"), .linkedLibrary("m")]),
    .target(name: "CSystem"),
    .target(name: "CArchive", linkerSettings: [.linkedLibrary("dl")]),
    .target(
      name: "CImage",
      linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("png"), .linkedLibrary("z")]),
    .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),

    // Ground floor.
    module("Diagnostics", []),
    module("Artifacts", ["Diagnostics", "CKernels"]),
    module("Tensors", ["Diagnostics"]),

    // Build side: knows files and commands, nothing of models.
    module("BuildEngine", ["Diagnostics", "Artifacts", "CKernels", "CSystem"]),
    module("FileWatching", ["Diagnostics", "CSystem"]),
    module("Bundling", ["Diagnostics", "Artifacts", "CArchive"]),

    // Model side: knows tensors and networks, nothing of builds.
    module("ONNXModel", ["Artifacts", "Tensors", protobuf]),
    module("ONNXRuntime", ["Tensors", "COnnxRuntime"]),
    module("Datasets", ["Artifacts", "Tensors", "CImage"]),
    module("Calibration", ["Artifacts", "Tensors", "CKernels"]),
    module("Quantization", ["ONNXModel", "Calibration"]),
    module("Finetuning", ["Quantization", "Datasets", "CKernels"]),
    module("Compilation", ["ONNXModel", "CSystem", protobuf]),
    module("Measurement", ["Quantization", "ONNXRuntime", "Datasets", "Compilation"]),
    module("Reporting", ["Measurement", "Finetuning"]),

    // Where the two sides meet: file names and command lines.
    .target(
      name: "Pipeline", dependencies: ["BuildEngine", yams],
      resources: ruleFiles.map { .embedInCode("BuildRules/\($0).ninja") }, swiftSettings: language),
    module(
      "QuenchCLI",
      [
        "Pipeline", "FileWatching", "Bundling", "Reporting", "Measurement", "Finetuning",
        argumentParser,
      ]),
    // Released with the C++ runtime and the libraries of images inside: loading and relocating them
    // would be a tenth of a build with nothing to do. (Their symbols stay hidden; ONNX Runtime brings
    // its own.) The folder makes -lstdc++ and others mean the archive, which LLVM's linker understands
    // and gold does not. Linked to one address, because moving 94,000 pointers of it costs more than
    // looking at 1,000 files; and exporting nothing, because the runtime looks itself up among all
    // that is exported.
    .executableTarget(
      name: "quench", dependencies: ["QuenchCLI"], exclude: ["StaticLinking"],
      swiftSettings: language,
      linkerSettings: [
        .unsafeFlags(
          [
            "-use-ld=lld", "-L\(Context.packageDirectory)/Sources/quench/StaticLinking",
            "-Xclang-linker", "-static-libgcc", "-Xclang-linker", "-no-pie",
            "-Xlinker", "--no-export-dynamic",
          ], .when(platforms: [.linux], configuration: .release))
      ]),

    // Tests.
    .target(
      name: "TestSupport", dependencies: ["Tensors"], path: "Tests/Support",
      swiftSettings: language),
    tests("DiagnosticsTests", ["Diagnostics"]),
    tests("TensorsTests", ["Tensors", "Diagnostics"]),
    tests("ArtifactsTests", ["Artifacts", "Diagnostics", "CKernels"]),
    tests("BuildEngineTests", ["BuildEngine"]),
    tests("FileWatchingTests", ["FileWatching"]),
    tests("BundlingTests", ["Bundling"]),
    tests("ONNXModelTests", ["ONNXModel"]),
    tests("ONNXRuntimeTests", ["ONNXRuntime", "ONNXModel"]),
    tests("DatasetsTests", ["Datasets"]),
    tests("CalibrationTests", ["Calibration", "Artifacts", "Tensors", "Diagnostics"]),
    tests("QuantizationTests", ["Quantization", "ONNXRuntime"]),
    tests("FinetuningTests", ["Finetuning", "ONNXRuntime", "CKernels"]),
    tests("CompilationTests", ["Compilation"]),
    tests("MeasurementTests", ["Measurement"]),
    tests("PipelineTests", ["Pipeline"]),
    tests("ArchitectureTests", []),
    // Benchmarks: built only when asked for.
    .target(
      name: "FusedPeak", dependencies: [], path: "Tests/Benchmarks/FusedPeak",
      cSettings: [.unsafeFlags(["-O2"])]),
    .executableTarget(
      name: "TrainingStep", dependencies: ["Finetuning", "FusedPeak"],
      path: "Tests/Benchmarks/TrainingStep", swiftSettings: language),
    tests("EndToEndTests", ["Artifacts", "ONNXModel", "Pipeline", "Tensors", "quench"]),
  ],
  swiftLanguageModes: [.v6]
)
