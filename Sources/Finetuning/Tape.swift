// SPDX-License-Identifier: Apache-2.0
// Finetuning: the tape, run forward and backward.

internal import CKernels
internal import Diagnostics

/// A network as a list of operators in the order of computation.
final class Tape {
  let machine: TapeMachine
  /// The model's input first, then what the frozen part hands over.
  let inputs: [TapeTensor]
  let output: TapeTensor
  let operators: [any TapeOperator]
  let parameters: [TapeParameter]
  /// The tensors that may go after each operator, in evaluation and in training.
  private let releasedInEvaluation: [[TapeTensor]]
  private let releasedInTraining: [[TapeTensor]]
  /// For each operator whether a gradient passes it.
  private let isActive: [Bool]
  /// Inputs that share memory, held until the end of the step.
  private(set) var isRecorded = false
  /// Whether evaluation sums up codes; for comparison it can be as in training.
  var sumsCodesInEvaluation = true

  init(
    machine: TapeMachine, inputs: [TapeTensor], output: TapeTensor,
    operators: [any TapeOperator], parameters: [TapeParameter]
  ) {
    self.machine = machine
    self.inputs = inputs
    self.output = output
    self.operators = operators
    self.parameters = parameters
    // Forward: what depends on a parameter. Backward: what the result depends on.
    var wanted: Set<ObjectIdentifier> = []
    for step in operators {
      if step.parameters.contains(where: { !$0.isFixed })
        || step.inputs.contains(where: \.needsGradient)
      {
        step.output.needsGradient = true
      }
    }
    wanted.insert(ObjectIdentifier(output))
    var isActive = [Bool](repeating: false, count: operators.count)
    for (index, step) in operators.enumerated().reversed() {
      let reaches = wanted.contains(ObjectIdentifier(step.output))
      isActive[index] = reaches && step.output.needsGradient
      guard reaches else { continue }
      for tensor in step.inputs { wanted.insert(ObjectIdentifier(tensor)) }
    }
    self.isActive = isActive
    var lastUse: [ObjectIdentifier: (Int, TapeTensor)] = [:]
    var kept: Set<ObjectIdentifier> = [ObjectIdentifier(output)]
    for (index, step) in operators.enumerated() {
      lastUse[ObjectIdentifier(step.output)] = (index, step.output)
      for tensor in step.inputs { lastUse[ObjectIdentifier(tensor)] = (index, tensor) }
      if isActive[index] { for tensor in step.kept { kept.insert(ObjectIdentifier(tensor)) } }
    }
    var evaluation = [[TapeTensor]](repeating: [], count: operators.count)
    var training = evaluation
    for (key, (index, tensor)) in lastUse where tensor !== output && tensor.isBatched {
      evaluation[index].append(tensor)
      if !kept.contains(key) { training[index].append(tensor) }
    }
    releasedInEvaluation = evaluation
    releasedInTraining = training
  }

  /// The operators through which a gradient passes.
  func isActive(_ index: Int) -> Bool { isActive[index] }

  /// Runs forward; the data of `inputs` hold the batch.
  func forward(training: Bool) {
    machine.sumsCodes = !training && sumsCodesInEvaluation
    for (index, step) in operators.enumerated() {
      if !step.allocatesOutput { machine.allocate(step.output) }
      step.forward(machine)
      for tensor in training ? releasedInTraining[index] : releasedInEvaluation[index] {
        tensor.data = nil
      }
    }
    isRecorded = training
  }

  /// Runs backward; `output.gradient` holds the gradient of the result.
  func backward() {
    precondition(isRecorded, "backward needs a forward run for training before it")
    for (index, step) in operators.enumerated().reversed() {
      if isActive[index], step.output.gradient != nil { step.backward(machine) }
      step.output.gradient = nil
      step.output.data = nil
    }
    letGoOfInputs()
    isRecorded = false
  }

  private func letGoOfInputs() {
    for input in inputs {
      input.gradient = nil
      input.data = nil
    }
  }

  /// Lets go of everything that a forward run left.
  func reset() {
    for step in operators {
      step.output.data = nil
      step.output.gradient = nil
    }
    letGoOfInputs()
    isRecorded = false
  }
}

// MARK: - Memory

extension Tape {
  /// Bytes of the activations that training holds, gradients and scratch, about.
  func estimatedBytes(samples: Int) -> Int {
    let weights = parameters.reduce(0) { $0 + $1.parameter.count }
    return mostElements * samples * machine.elementSize + 7 * weights * 4 + 30_000_000
  }

  /// The most elements of one sample that a step of training holds at once, and twice the largest
  /// tensor for scratch: the step is gone through without computing anything.
  private var mostElements: Int {
    // Which tensor's memory a tensor lies in. Fake quantizers are applied while layers read.
    var roots: [ObjectIdentifier: TapeTensor] = [:]
    func root(_ tensor: TapeTensor) -> TapeTensor { roots[ObjectIdentifier(tensor)] ?? tensor }
    for step in operators where step.allocatesOutput {
      if let input = step.inputs.first { roots[ObjectIdentifier(step.output)] = root(input) }
    }
    var (now, most, largest) = (0, 0, 0)
    /// Tensors that lie in a root's memory and are still needed.
    var data: [ObjectIdentifier: Set<ObjectIdentifier>] = [:]
    func hold(_ tensor: TapeTensor) {
      let root = root(tensor)
      if data[ObjectIdentifier(root), default: []].isEmpty { now += root.count }
      data[ObjectIdentifier(root), default: []].insert(ObjectIdentifier(tensor))
      largest = max(largest, root.count)
      most = max(most, now)
    }
    func release(_ tensor: TapeTensor) {
      let root = root(tensor)
      guard data[ObjectIdentifier(root)]?.remove(ObjectIdentifier(tensor)) != nil else { return }
      if data[ObjectIdentifier(root)]?.isEmpty == true { now -= root.count }
    }
    for input in inputs { hold(input) }
    for (index, step) in operators.enumerated() {
      if step.output.isBatched, !(step is FakeQuantizer) { hold(step.output) }
      for tensor in releasedInTraining[index] { release(tensor) }
    }
    // Backward: a gradient lives from the first reader's turn to that of the operator that made
    // the tensor.
    var gradients: Set<ObjectIdentifier> = []
    for (index, step) in operators.enumerated().reversed() {
      if isActive[index] {
        for tensor in step.inputs where tensor.isBatched {
          guard gradients.insert(ObjectIdentifier(root(tensor))).inserted else { continue }
          now += root(tensor).count
        }
        most = max(most, now)
      }
      release(step.output)
      if root(step.output) === step.output,
        gradients.remove(ObjectIdentifier(step.output)) != nil
      {
        now -= step.output.count
      }
    }
    // A sixth for free buffers that are too small or too large for what is asked for. The pictures
    // lie in arrays of their own while they are put together.
    return most + most / 6 + 2 * largest + 2 * inputs.reduce(0) { $0 + $1.count }
  }
}
