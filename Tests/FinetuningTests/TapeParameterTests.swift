// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Finetuning

@Suite("Parameters of the tape")
struct TapeParameterTests {
  @Test("a scale that fell below its floor, or became NaN, is raised to it")
  func floors() {
    let parameter = Parameter(
      name: "x", kind: .activationScale, layers: ["conv"], values: [0.5, -1, .nan],
      floors: [0.25, 0.25, 0.25])
    parameter.applyBounds()
    #expect(parameter.values == [0.5, 0.25, 0.25])
  }
}
