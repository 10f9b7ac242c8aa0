// SPDX-License-Identifier: Apache-2.0
// Compilation: what atc refuses, told before it is started.

public import Diagnostics

extension ATCArguments {
  /// Checks the flags against the rules of `atc`, all of them at once.
  ///
  /// Source: the option checks of CANN's graph engine (`main_impl`, `option_utils`); the rules on
  /// deploy models from the tool's user guide.
  /// - Throws: `.usage` with every fault and the tool's own error code where there is one.
  public func check() throws(QuenchError) {
    let faults = required() + exclusive() + shapes() + paths() + quantized()
    guard !faults.isEmpty else { return }
    throw QuenchError(
      .usage, "atc would refuse these flags: " + faults.joined(separator: "; "),
      at: .option("--\(options.first?.name ?? "model") of atc"),
      try: "change the flags named; the command was: \(shown())")
  }

  private func has(_ name: String) -> Bool { !(self[name] ?? "").isEmpty }

  private func required() -> [String] {
    var faults = ["model", "output", "soc_version"].filter { !has($0) }
      .map { "--\($0) is missing (E10054)" }
    if !has("framework") { faults.append("--framework is missing (E10007)") }
    if self["framework"] == "0", !has("weight") {
      faults.append("--framework=0 needs --weight (E10008)")
    }
    let repeated = Dictionary(grouping: options, by: \.name).filter { $0.value.count > 1 }
    faults += repeated.keys.sorted().map { "--\($0) is given twice" }
    return faults
  }

  private func exclusive() -> [String] {
    var faults: [String] = []
    let dynamic = ["dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range"]
      .filter(has)
    if dynamic.count > 1 {
      faults.append(
        dynamic.map { "--\($0)" }.joined(separator: " and ") + " exclude each other"
          + " (E10009)")
    }
    let pairs: [(String, String, String)] = [
      ("precision_mode", "precision_mode_v2", "E10056"),
      ("dynamic_dims", "insert_op_conf", "E10001"),
      ("singleop", "framework", "E10001"), ("singleop", "insert_op_conf", "E10001"),
    ]
    for (first, second, code) in pairs where has(first) && has(second) {
      faults.append("--\(first) and --\(second) exclude each other (\(code))")
    }
    if self["enable_compress_weight"] == "true", has("compress_weight_conf") {
      faults.append(
        "--enable_compress_weight and --compress_weight_conf exclude each other"
          + " (E10047)")
    }
    if has("optypelist_for_implmode"), !has("op_select_implmode") {
      faults.append("--optypelist_for_implmode needs --op_select_implmode (E10001)")
    }
    let mixed = ["allow_mix_precision", "allow_mix_precision_fp16", "allow_mix_precision_bf16"]
    let mixes =
      mixed.contains(self["precision_mode"] ?? "")
      || (self["precision_mode_v2"] ?? "").hasPrefix("mixed_")
    if has("modify_mixlist"), !mixes {
      faults.append("--modify_mixlist needs a mixed precision mode (E10001)")
    }
    let nano = (self["soc_version"] ?? "").hasPrefix("Ascend035")
    if nano != (self["mode"] == "30") {
      faults.append(
        nano
          ? "\(self["soc_version"] ?? "") needs --mode=30 (E10055)"
          : "--mode=30 is for Ascend035 only (E10055)")
    }
    return faults
  }

  private func shapes() -> [String] {
    guard let shape = self["input_shape"] else { return [] }
    let dynamic = ["dynamic_batch_size", "dynamic_image_size", "dynamic_dims"].filter(has)
    let open = shape.split(whereSeparator: { ":,;".contains($0) }).contains("-1")
    if !dynamic.isEmpty, !open {
      return ["--\(dynamic[0]) needs a -1 in --input_shape (E10040)"]
    }
    return []
  }

  private func paths() -> [String] {
    var faults: [String] = []
    if let output = self["output"], output.hasSuffix("/") {
      faults.append("--output must end in a file name (E10022)")
    }
    for name in ["model", "output", "insert_op_conf", "compression_optimize_conf"] {
      guard let value = self[name] else { continue }
      if value.utf8.count > 4096 { faults.append("the path of --\(name) is too long (E10021)") }
      // The tool takes letters, digits, `_ - .` and CJK characters in paths.
      let foreign = value.unicodeScalars.first {
        !($0.properties.isAlphabetic || ("0"..."9").contains($0)
          || "_-./".unicodeScalars.contains($0))
      }
      if let foreign {
        faults.append("the path of --\(name) holds \"\(foreign)\", which atc does not take")
      }
    }
    return faults
  }

  private func quantized() -> [String] {
    guard isDeployModel else { return [] }
    var faults: [String] = []
    for (name, refused) in [
      ("precision_mode", ["force_fp32", "must_keep_origin_dtype"]),
      ("precision_mode_v2", ["origin"]),
    ] {
      if let value = self[name], refused.contains(value) {
        faults.append("a quantised model cannot be compiled with --\(name)=\(value)")
      }
    }
    for name in ["dynamic_batch_size", "dynamic_image_size", "dynamic_dims"] where has(name) {
      faults.append("a quantised model cannot have a dynamic shape (--\(name))")
    }
    return faults
  }
}
