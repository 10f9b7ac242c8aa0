// SPDX-License-Identifier: Apache-2.0
// Pipeline: the rules that come with quench.

internal import Glibc

/// The folder `BuildRules`, compiled in.
enum RuleFiles {
  /// The project has rules of its own, which are used in place of these.
  static var areOwn: Bool { access("\(Layout.ownRules)/quench.ninja", F_OK) == 0 }

  /// A number that changes with the text of the rules (FNV-1a, 64 bits).
  static var fingerprint: UInt64 {
    all.reduce(0xCBF2_9CE4_8422_2325) { sum, file in
      file.content.reduce(sum) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
  }

  /// File name and content, in the order of inclusion.
  static var all: [(name: String, content: [UInt8])] {
    [
      ("quench.ninja", PackageResources.quench_ninja),
      ("observe.ninja", PackageResources.observe_ninja),
      ("calibrate.ninja", PackageResources.calibrate_ninja),
      ("finetune.ninja", PackageResources.finetune_ninja),
      ("quantize.ninja", PackageResources.quantize_ninja),
      ("compile.ninja", PackageResources.compile_ninja),
      ("evaluate.ninja", PackageResources.evaluate_ninja),
      ("bundle.ninja", PackageResources.bundle_ninja),
    ]
  }
}
