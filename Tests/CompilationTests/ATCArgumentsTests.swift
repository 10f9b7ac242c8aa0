// SPDX-License-Identifier: Apache-2.0
// CompilationTests: command lines of atc, and what is refused before it starts.

import Compilation
import Diagnostics
import Testing

@Suite("atc arguments")
struct ATCArgumentsTests {
  let soc: SoC

  init() throws { soc = try SoCTable.soc(named: "Ascend310P3") }

  private func cann(_ extra: [ATCOption]) -> ATCArguments {
    .cann(
      model: "a.onnx", output: "a", soc: soc, inputs: [("x", [1, 3, 4, 4]), ("y", [1])],
      extra: extra)
  }

  @Test("profile article is the published command line, word for word")
  func article() throws {
    let arguments = ATCArguments.article(
      model: "resnet50_qat.onnx", output: "resnet50_int8", soc: soc,
      inputs: [("input", [1, 3, 224, 224])], calibration: "calibration.cfg",
      optimization: "compression_optimize.cfg")
    #expect(
      arguments.shown()
        == "atc --model=resnet50_qat.onnx --framework=5 --output=resnet50_int8 "
        + "--soc_version=Ascend310P3 --input_shape=input:1,3,224,224 --input_format=NCHW "
        + "--output_type=FP32 --precision_mode=force_fp16 --insert_op_conf=calibration.cfg "
        + "--compression_optimize_conf=compression_optimize.cfg")
    #expect(!arguments.warnings.isEmpty)
    try arguments.check()
  }

  @Test("profile cann names all inputs and is sound")
  func sound() throws {
    let arguments = cann([])
    #expect(arguments["input_shape"] == "x:1,3,4,4;y:1")
    #expect(arguments["insert_op_conf"] == nil)
    // A semicolon ends a command in a shell; here no shell is involved, and what is shown is quoted.
    #expect(arguments.shown().contains("'--input_shape=x:1,3,4,4;y:1'"))
    try arguments.check()
  }

  @Test("an extra flag replaces one of the same name")
  func extra() {
    let arguments = cann([ATCOption("output_type", "FP16")])
    #expect(arguments["output_type"] == "FP16")
    #expect(arguments.options.filter { $0.name == "output_type" }.count == 1)
  }

  @Test(
    "conflicts are told before the start, with the tool's code",
    arguments: [
      ([ATCOption("soc_version", "")], "E10054"),
      ([ATCOption("framework", "0")], "E10008"),
      ([ATCOption("dynamic_batch_size", "1,2"), ATCOption("dynamic_dims", "1")], "E10009"),
      ([ATCOption("dynamic_dims", "1;2"), ATCOption("insert_op_conf", "a.cfg")], "E10001"),
      (
        [ATCOption("precision_mode", "force_fp16"), ATCOption("precision_mode_v2", "fp16")],
        "E10056"
      ),
      (
        [ATCOption("enable_compress_weight", "true"), ATCOption("compress_weight_conf", "c")],
        "E10047"
      ),
      ([ATCOption("modify_mixlist", "m.json")], "mixed precision"),
      ([ATCOption("optypelist_for_implmode", "Gelu")], "op_select_implmode"),
      ([ATCOption("soc_version", "Ascend035")], "E10055"),
      ([ATCOption("mode", "30")], "E10055"),
      ([ATCOption("dynamic_batch_size", "1,2")], "E10040"),
      ([ATCOption("dynamic_batch_size", "1,2")], "dynamic shape"),
      ([ATCOption("precision_mode", "force_fp32")], "quantised model"),
      ([ATCOption("precision_mode_v2", "origin")], "quantised model"),
      ([ATCOption("output", "build/")], "E10022"),
      ([ATCOption("model", "my model.onnx")], "\" \""),
    ])
  func conflict(extra: [ATCOption], expected: String) throws {
    let error = #expect(throws: QuenchError.self) { try cann(extra).check() }
    #expect(error?.kind == .usage)
    #expect(error?.message.contains(expected) == true, "\(String(describing: error?.message))")
  }

  @Test("all conflicts are told at once")
  func several() throws {
    let error = #expect(throws: QuenchError.self) {
      try cann([ATCOption("soc_version", ""), ATCOption("output", "")]).check()
    }
    #expect(error?.message.contains("--output is missing") == true)
    #expect(error?.message.contains("--soc_version is missing") == true)
  }
}

@Suite("atc output")
struct ATCOutputTests {
  @Test("the three generations of error blocks are read")
  func generations() {
    let output = ATCOutput(
      """
      ATC start working now, please wait for a moment.
      ATC run failed, Please check the detail log, Try 'atc --help' for more information
      E10007: [--framework] is required. The value must be [0(Caffe) or 5(Onnx)].
              Solution: Set --framework.
      E20001: [PID: 200452] 2025-06-16-13:02:36.801.136 The second message
      [PID: 4242] 2026-08-21-15:14:44.123.456 Invalid_Argument(E10001): The third: with a colon
              Possible Cause: a cause
      W11001: a warning
      """)
    #expect(output.blocks.map(\.code) == ["E10007", "E20001", "E10001", "W11001"])
    #expect(output.blocks[0].solution == "Set --framework.")
    #expect(output.blocks[1].message == "The second message")
    #expect(output.blocks[2].message == "The third: with a colon")
    #expect(output.blocks[2].cause == "a cause")
    #expect(output.warnings.count == 1)
    #expect(!output.reportsSuccess)
  }

  @Test("a specific error is preferred to the general one")
  func specific() {
    let output = ATCOutput("E19999: Inner Error!\nE10032: bad JSON")
    #expect(output.failure?.code == "E10032")
    #expect(ATCOutput("EZ9999: Inner Error!").failure?.code == "EZ9999")
  }

  @Test("ordinary text is no error block")
  func text() {
    #expect(ATCOutput("Export: done\nE: x\nEND OF FILE: y\n").blocks.isEmpty)
  }
}
