// SPDX-License-Identifier: Apache-2.0
// TrainingStep: one training step at a time, on demand. `training_step.py` times it beside PyTorch.
//
//     TrainingStep NETWORK BATCH THREADS fixed|lsq SHARED-FILE
//
// Writes input, teacher's logits and parameters to the file, so that the other side computes the
// same, says "ready", then answers lines of standard input:
//   step       → seconds and loss of one step
//   profile N  → JSON of what N steps took, kernel by kernel
//   peak       → GFLOP/s of fused multiply-adds on so many threads, by the same instructions
//   memory     → peak resident bytes so far, and before the network was built

import Calibration
import Finetuning
import FusedPeak
import Glibc
import ONNXModel
import Quantization
import Tensors

func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Peak resident bytes of this process.
func peakMemory() -> Int {
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return usage.ru_maxrss * 1024
}

func answer(_ text: String) {
  print(text)
  fflush(nil)
}

/// The network, its data and its optimizer.
struct Trial {
  let graph: TrainableGraph
  let batch: Int
  let isLearningScales: Bool
  let input: [Float]
  let teacher: [Float]
  var optimizer: Optimizer

  init(_ network: RandomNetwork, batch: Int, threads: Int, isLearningScales: Bool) throws {
    let model = try Folding.fold(network.model(output: network.last), inputs: [:])
    let layers = try OperatorRules.layers(of: model)
    // One grid for all activations: 0...6 in 256 codes.
    let scale = Scale.affine(low: 0, high: 6)
    var tensors: [String: TensorScale] = [:]
    for layer in layers {
      tensors[layer.input] = TensorScale(
        min: 0, max: 6, count: 1, threshold: [0, 6], scale: scale.scale,
        zeroPoint: scale.zeroPoint, method: "benchmark", clipped: 0)
    }
    let scales = ScaleTable(
      model: "", method: "benchmark", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: .perChannel))
    graph = try TrainableGraph(
      model, config: nil, scales: scales, options: .init(threads: threads))
    graph.computesScaleGradients = isLearningScales
    self.batch = batch
    self.isLearningScales = isLearningScales
    input = numbers(batch * graph.inputCount, seed: 1001).map { ($0 + 1) * 0.5 }
    teacher = numbers(batch * graph.classes, seed: 1002)
    optimizer = Optimizer(
      weights: GroupSettings(rule: .momentum), scales: GroupSettings(rule: .momentum),
      parameters: graph.parameters)
  }

  /// Forward, loss, backward, momentum; returns the loss.
  mutating func step() throws -> Double {
    let logits = try graph.forward(input, count: batch, training: true)
    let result = BatchLoss.evaluate(
      .distillation(temperature: 1), logits: logits, classes: graph.classes, labels: [],
      teacher: teacher)
    graph.zeroGradients()
    graph.backward(result.gradient)
    optimizer.step(.weights, of: graph.parameters, rate: 1e-4)
    if isLearningScales { optimizer.step(.scales, of: graph.parameters, rate: 1e-4) }
    return result.mean
  }
}

func share(_ trial: Trial, _ network: RandomNetwork, at path: String) -> Bool {
  guard let file = fopen(path, "w") else { return false }
  for array in [trial.input, trial.teacher] + network.parameters {
    array.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, file) }
  }
  return fclose(file) == 0
}

let arguments = CommandLine.arguments
guard arguments.count == 6, let network = RandomNetwork(named: arguments[1]),
  let batch = Int(arguments[2]), let threads = Int(arguments[3]), batch > 0, threads > 0,
  ["fixed", "lsq"].contains(arguments[4])
else {
  print("TrainingStep \(RandomNetwork.names.joined(separator: "|")) BATCH THREADS fixed|lsq FILE")
  exit(64)
}
let before = peakMemory()
var trial = try Trial(
  network, batch: batch, threads: threads, isLearningScales: arguments[4] == "lsq")
guard share(trial, network, at: arguments[5]) else {
  print("\(arguments[5]) cannot be written")
  exit(74)
}
// Forward, the weights' gradients and, but for the first layer's with fixed scales, the inputs'.
let unneeded = arguments[4] == "lsq" ? 0 : network.firstProducts
let operations = 2 * (3 * network.products - unneeded) * batch
answer("ready \(trial.graph.kernels) \(operations)")
while let line = readLine() {
  let words = line.split(separator: " ")
  switch words.first {
  case "step":
    let begin = now()
    let loss = try trial.step()
    answer("\(now() - begin) \(loss)")
  case "profile":
    let count = words.count > 1 ? Int(words[1]) ?? 1 : 1
    let begin = now()
    let times = try trial.graph.metered { for _ in 0..<count { _ = try trial.step() } }
    let entries = times.map {
      "{\"name\": \"\($0.name)\", \"calls\": \($0.calls), \"wall\": \($0.wall), "
        + "\"busy\": \($0.busy)}"
    }
    answer("{\"seconds\": \(now() - begin), \"kinds\": [\(entries.joined(separator: ", "))]}")
  case "peak":
    // As wide as the kernels in use, at most.
    answer("\(fused_peak(Int32(threads), trial.graph.kernels == "avx2" ? 32 : 64))")
  case "memory": answer("\(peakMemory()) \(before)")
  default: answer("unknown")
  }
}
