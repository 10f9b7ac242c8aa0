// SPDX-License-Identifier: Apache-2.0
// Pipeline: the rules that come with quench.

/// The folder `BuildRules`, compiled in.
enum RuleFiles {
  /// File name and content, in the order of inclusion.
  static var all: [(name: String, content: [UInt8])] {
    [
      ("quench.ninja", PackageResources.quench_ninja),
      ("observe.ninja", PackageResources.observe_ninja),
      ("calibrate.ninja", PackageResources.calibrate_ninja),
      ("quantize.ninja", PackageResources.quantize_ninja),
      ("compile.ninja", PackageResources.compile_ninja),
      ("evaluate.ninja", PackageResources.evaluate_ninja),
      ("bundle.ninja", PackageResources.bundle_ninja),
    ]
  }
}
