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

  /// Bytes of the activations that training holds, gradients and scratch, about.
  func estimatedBytes(samples: Int) -> Int {
    var held: Set<ObjectIdentifier> = []
    var elements = 0
    var largest = 0
    for (index, step) in operators.enumerated() {
      let tensors = isActive[index] ? step.kept + [step.output] : [step.output]
      for tensor in tensors where tensor.isBatched && held.insert(ObjectIdentifier(tensor)).inserted
      {
        elements += tensor.count
        largest = max(largest, tensor.count)
      }
    }
    let weights = parameters.reduce(0) { $0 + $1.parameter.count }
    return (elements + 3 * largest) * samples * machine.elementSize + 7 * weights * 4 + 30_000_000
  }
}
