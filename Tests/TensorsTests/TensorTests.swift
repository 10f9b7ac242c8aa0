// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Tensors
import Testing

@Suite("tensor")
struct TensorTests {
  @Test("bytes must fill the shape")
  func bytesFill() throws {
    #expect(
      try Tensor(.float32, shape: [2, 3], bytes: [UInt8](repeating: 0, count: 24)).count == 6)
    #expect(try Tensor(.int8, shape: [], bytes: [7]).values(as: Int8.self) == [7])
    #expect(try Tensor(.int64, shape: [0, 5], bytes: []).count == 0)
    for (shape, count) in [([2, 3], 23), ([2], 9), ([], 0), ([-1], 0), ([-2, -3], 24)] {
      let error = #expect(throws: QuenchError.self) {
        try Tensor(.float32, shape: shape, bytes: [UInt8](repeating: 0, count: count))
      }
      #expect(error?.kind == .data)
    }
  }

  @Test("shapes whose size overflows are refused, not trapped on")
  func overflow() {
    #expect(Tensor.elementCount(of: [.max, 2]) == nil)
    #expect(Tensor.elementCount(of: [1 << 40, 1 << 40]) == nil)
    #expect(throws: QuenchError.self) { try Tensor(.float32, shape: [1 << 62], bytes: []) }
  }

  @Test("values come back as they went in")
  func values() {
    let floats: [Float] = [1.5, -0.0, .infinity, .leastNonzeroMagnitude]
    let tensor = Tensor(floats: floats, shape: [2, 2])
    #expect(tensor.floats.map(\.bitPattern) == floats.map(\.bitPattern))
    #expect(Tensor(int64s: [3, -1], shape: [2]).values(as: Int64.self) == [3, -1])
    #expect(tensor.withElements(as: Float.self) { $0[2] } == .infinity)
  }

  @Test("elements can be changed in place without touching a copy")
  func mutation() {
    let original = Tensor(.int8, shape: [3], values: [1, 2, 3] as [Int8])
    var copy = original
    copy.withMutableElements(as: Int8.self) { $0[1] = -9 }
    #expect(copy.values(as: Int8.self) == [1, -9, 3])
    #expect(original.values(as: Int8.self) == [1, 2, 3])
  }

  @Test("reshaping keeps the elements and their number")
  func reshape() throws {
    let tensor = Tensor(floats: [1, 2, 3, 4, 5, 6], shape: [2, 3])
    let other = try tensor.reshaped(to: [3, 2])
    #expect(other.floats == tensor.floats)
    #expect(other.shape == [3, 2])
    #expect(throws: QuenchError.self) { try tensor.reshaped(to: [4, 2]) }
  }

  @Test("sizes are those of the types' layouts")
  func sizes() {
    #expect(ElementType.allCases.map(\.size) == [4, 1, 1, 2, 2, 4, 8, 1, 2, 8, 4, 8])
    #expect(ElementType.float16.matches(UInt16.self))
    #expect(!ElementType.float32.matches(Double.self))
  }
}
