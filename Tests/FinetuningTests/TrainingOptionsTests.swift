// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import Finetuning

@Suite("Training options")
struct TrainingOptionsTests {
  static func settings(_ json: String, isLabelled: Bool = true) throws -> TrainingSettings {
    try TrainingOptions.decode(Array(json.utf8), path: "finetune.json")
      .settings(isLabelled: isLabelled, path: "finetune.json")
  }

  @Test("nothing said is the recipe auto; the article's recipe has the article's numbers")
  func recipes() throws {
    #expect(try Self.settings("{}") == .automatic)
    let article = try Self.settings("{\"recipe\": \"article\"}")
    #expect(article == .article)
    #expect(article.epochs == 3 && article.rate.peak == 1e-5 && article.loss == .crossEntropy)
    #expect(article.weights.rule == .sgd(momentum: 0.9))
    #expect(article.schedule.releaseShare == 0.8 && article.schedule.factor == 0.1)
    // All rates fall to a tenth at the release.
    #expect(article.rates(at: 79, of: 100) == (1e-5, 0))
    #expect(article.rates(at: 80, of: 100) == (1e-5 * 0.1, 1e-5 * 0.1))
    #expect(try Self.settings("{\"recipe\": \"article\"}", isLabelled: false).loss.needsTeacher)
  }

  @Test("what is said departs from the recipe, the rest stays")
  func departures() throws {
    let settings = try Self.settings(
      """
      {"epochs": 7, "learningRate": 0.01, "loss": "both", "labelShare": 0.25, "optimizer": "adamW",
       "schedule": "cosine", "unfreezeScalesAt": 1, "freezeWeightsAt": 0.25, "padding": 4, "seed": 9}
      """)
    var expected = TrainingSettings.automatic
    expected.epochs = 7
    expected.rate = LearningRate(peak: 0.01, course: .cosine)
    expected.loss = .both(share: 0.25, temperature: 1)
    expected.weights.rule = .adam
    expected.schedule.releaseShare = 1
    expected.weightFreeze = WeightFreeze(start: 0.25)
    expected.augmentation.padding = 4
    expected.seed = 9
    #expect(settings == expected)
    #expect(try Self.settings("{\"freezeWeightsAt\": 1}") == .automatic)
  }

  @Test("the article's rate of the scales follows its one learning rate")
  func oneRate() throws {
    let settings = try Self.settings("{\"recipe\": \"article\", \"learningRate\": 0.001}")
    #expect(settings.rate.peak == 0.001 && settings.scaleRate.peak == 0.001)
  }

  @Test(
    "values that make no sense are refused with the file",
    arguments: [
      "{\"epochs\": 0}", "{\"batch\": 0}", "{\"learningRate\": -1}", "{\"heldBack\": 1}",
      "{\"heldBack\": 0}",
      "{\"unfreezeScalesAt\": 2}", "{\"freezeWeightsAt\": 1.5}", "{\"freezeWeightsAt\": -1}",
      "{\"loss\": \"mse\"}", "{\"optimizer\": \"lion\"}",
      "{\"schedule\": \"wave\"}", "{\"temperature\": 0, \"loss\": \"both\"}",
      "{\"memoryLimit\": 0}", "{\"weightBits\": 1}", "{\"epochs\": \"three\"}", "[]",
    ])
  func refusals(json: String) {
    let error = #expect(throws: QuenchError.self) { try Self.settings(json) }
    #expect(error?.kind == .data)
    #expect(error?.place == .file("finetune.json"))
  }

  @Test("an unknown key is refused with the nearest name")
  func unknownKey() {
    let error = #expect(throws: QuenchError.self) { try Self.settings("{\"epoch\": 3}") }
    #expect(error?.kind == .data && error?.place == .file("finetune.json"))
    #expect(error?.message == "unknown key \"epoch\"; did you mean \"epochs\"?")
  }

  @Test("a run that does not fit the memory is refused with the batch that does")
  func memory() throws {
    let parameters = [
      Parameter(name: "w", kind: .weight, layers: ["a"], values: [Float](repeating: 0, count: 1000))
    ]
    let memory = TrainingMemory(parameters: parameters, settings: .automatic, data: 0) {
      $0 << 20
    }
    let room = memory.bytes(batch: 10)
    try memory.check(batch: 10, limit: room)
    let error = #expect(throws: QuenchError.self) { try memory.check(batch: 32, limit: room) }
    #expect(error?.kind == .work)
    #expect(error?.remedy?.contains("batch: 10}") == true)
    let none = #expect(throws: QuenchError.self) { try memory.check(batch: 32, limit: 1 << 20) }
    #expect(none?.remedy?.contains("even a batch of 1") == true)
    #expect(try #require(TrainingMemory.available()) > 0)
  }

  @Test("what is available is the least of the machine's, a container's and the process's own")
  func available() {
    let space = TemporarySpace()
    #expect(TrainingMemory.available(root: space.path("none")) == nil)
    space.write("proc/meminfo", "MemTotal:  16384 kB\nMemAvailable:    8192 kB\n")
    #expect(TrainingMemory.available(root: space.path) == 8 << 20)
    // The second version of control groups: the tightest on the way up counts.
    space.write("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n")
    space.write("sys/fs/cgroup/a/b/memory.max", "max\n")
    space.write("sys/fs/cgroup/a/b/memory.current", "1\n")
    #expect(TrainingMemory.available(root: space.path) == 8 << 20)
    space.write("sys/fs/cgroup/a/memory.max", "6000000\n")
    space.write("sys/fs/cgroup/a/memory.current", "5000000\n")
    #expect(TrainingMemory.available(root: space.path) == 1_000_000)
    space.write("sys/fs/cgroup/a/memory.stat", "anon 3000000\nfile 2000000\nfile_mapped 9\n")
    #expect(TrainingMemory.available(root: space.path) == 3_000_000)
    // The first version; the process's group is not what the container has mounted.
    space.write("proc/self/cgroup", "4:cpu,memory:/docker/x\n0::/\n")
    space.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n")
    space.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "4000001\n")
    #expect(TrainingMemory.available(root: space.path) == 0)
    space.write("sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_cache 1500001\n")
    #expect(TrainingMemory.available(root: space.path) == 1_500_000)
    // 100 pages taken, 40 of them with memory behind.
    space.write("proc/self/statm", "100 40 30 1 0 20 0\n")
    let page = Int(getpagesize())
    #expect(TrainingMemory.addressSpace(200 * page, space.path) == 140 * page)
    #expect(TrainingMemory.addressSpace(10 * page, space.path) == 0)
    #expect(TrainingMemory.addressSpace(.max, space.path) == nil)
  }
}
