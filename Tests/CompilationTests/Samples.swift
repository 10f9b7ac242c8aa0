// SPDX-License-Identifier: Apache-2.0
// CompilationTests: real OM files, which lie beside the package where they are there at all.

import Artifacts
import Glibc
import Testing

/// Real OM files of the Kirin toolchain.
enum Samples {
  static let directory: String = {
    let root = getenv("QUENCH_SHARED").map { String(cString: $0) } ?? "../shared"
    return "\(root)/data/om"
  }()

  static let areThere = access("\(directory)/hiai_ir_aipp.om", R_OK) == 0

  static let names = [
    "hiai_hcs_npucl_softmax.om", "hiai_ir_aipp.om", "hiai_ir_conv_weights.om",
    "hiai_v100_softmax.om",
  ]

  static func bytes(_ name: String) throws -> [UInt8] {
    try FileContent.read("\(directory)/\(name)")
  }
}
