// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Testing

@Suite("What starts first")
struct OrderTests {
  @Test("the longest chain of the earlier build goes first")
  func durations() throws {
    let world = World(
      "rule slow\n  command = sleep 0.3; cp $in $out\nbuild quick: cp a\nbuild long: slow a\n",
      ["a": "1"])
    #expect(try world.build([]) { $0.jobs = 1 }.ran == ["quick", "long"])
    world.write("a", "2")
    #expect(try world.build([]) { $0.jobs = 1 }.ran == ["long", "quick"])
  }

  @Test("declared memory keeps edges apart, and the time left is told from earlier durations")
  func memory() throws {
    let world = World(
      "rule work\n  command = sleep 0.1; cp $in $out\nbuild x: work a\n  memory = 2G\n"
        + "build y: work a\n  memory = 2G\nbuild z: work a\n", ["a": "1"])
    var heavy = 0
    var most = 0
    var left: Duration?
    func build() throws(QuenchError) {
      try world.build([]) {
        $0.jobs = 0
        $0.memoryLimit = 3 << 30
        $0.wantsEstimate = true
      } during: { event, _ in
        switch event {
        case .started(let edge, _, let counts):
          heavy += edge.output == "z" ? 0 : 1
          most = max(most, heavy)
          left = left ?? counts.left
        case .finished(let edge, _, _, _, _): heavy -= edge.output == "z" ? 0 : 1
        default: break
        }
      }
    }
    try build()
    #expect(most == 1)
    left = nil
    world.write("a", "2")
    try build()
    #expect(most == 1)
    #expect((left ?? .zero) >= .milliseconds(50))
  }
}
