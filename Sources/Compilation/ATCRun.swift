// SPDX-License-Identifier: Apache-2.0
// Compilation: atc driven, its result checked and put in place.

internal import Artifacts
public import Diagnostics
internal import FoundationEssentials
internal import Glibc

/// A failed tool's own words, whole: the `cause` of the error that tells of it.
public struct ToolOutput: Error, Sendable, CustomStringConvertible {
  /// The command, quoted for a shell.
  public let command: String
  /// The exit status; 128 plus the signal when a signal ended it.
  public let status: Int32
  /// What the tool printed.
  public let text: String

  /// Command, status and text.
  public var description: String { "\(command)\nexit status \(status)\n\(text)" }
}

/// Runs `atc`.
public enum ATCRun {
  /// What a successful run left.
  public struct Result: Sendable {
    /// The command as shown to people.
    public let command: String
    /// The tool's warnings, `code: message`.
    public let warnings: [String]
  }

  /// Compiles a model with `atc` and puts the result at `output`.
  ///
  /// The tool runs in a directory of its own beside `output`, because it leaves by-products where
  /// it runs; paths are rewritten to lead there, relative, since it writes its command line into
  /// the OM file. It has succeeded when it exits with 0, says so, and the file exists; it appends
  /// `.om`, or the host's name and `.om`, itself. On success the file takes its place in one step.
  ///
  /// - Parameters:
  ///   - arguments: the flags; `output` is replaced by a name inside the run's directory.
  ///   - output: the path of the OM file, with `.om`.
  ///   - soc: compared with what the compiled file names.
  ///   - environment: the process's variables, to which the toolkit's are added.
  ///   - onOutput: gets the tool's output as it arrives.
  /// - Throws: `.usage` for flags that atc refuses, `.unavailable` when it cannot run here, else
  ///   `.work` with the tool's error; the cause is a `ToolOutput`.
  @discardableResult
  public static func compile(
    _ toolchain: Toolchain, _ arguments: ATCArguments, to output: String, for soc: SoC,
    environment: [String: String], onOutput: (ArraySlice<UInt8>) -> Void = { _ in }
  ) throws(QuenchError) -> Result {
    try arguments.check()
    let space = try RunDirectory(beside: output)
    defer { space.remove() }
    var inside = arguments
    for index in inside.options.indices {
      switch inside.options[index].name {
      case "output": inside.options[index].value = space.name
      case "model", "weight", "insert_op_conf", "compression_optimize_conf",
        "compress_weight_conf", "keep_dtype", "customize_dtypes", "fusion_switch_file",
        "modify_mixlist", "op_precision_mode":
        inside.options[index].value = space.reaching(inside.options[index].value)
      default: break
      }
    }
    let program = try absolute(toolchain.path)
    let process = try ToolProcess.run(
      program, inside.vector, environment: toolchain.environment(adding: environment),
      directory: space.path, onOutput: onOutput)
    let command = inside.shown(program: toolchain.path)
    let text = String(decoding: process.output, as: UTF8.self)
    let printed = ATCOutput(text)
    let words = ToolOutput(command: command, status: process.status, text: text)
    guard process.status == 0, printed.reportsSuccess else {
      throw failure(printed, words)
    }
    guard let made = space.compiled() else {
      throw QuenchError(
        .work, "atc reports success but wrote no \"\(space.name).om\"", at: .file(output),
        because: words)
    }
    try accept(made, as: output, for: soc, words)
    return Result(
      command: command, warnings: printed.warnings.map { "\($0.code): \($0.message)" })
  }

  /// Checks the file and moves it into place.
  private static func accept(
    _ made: String, as output: String, for soc: SoC, _ words: ToolOutput
  ) throws(QuenchError) {
    let bytes = try FileContent.read(made)
    guard bytes.starts(with: "IMOD".utf8) else {
      throw QuenchError(
        .work, "what atc wrote is not an OM file", at: .file(output), because: words)
    }
    // The tool's word counts for the rest: its file may use a form that this reader does not know.
    if let file = try? OMFile.decode(bytes, path: output),
      case .different(let compiled) = OMCompatibility.check(file, for: soc)
    {
      throw QuenchError(
        .work, "atc was asked for \(soc.name) but compiled for \(compiled)", at: .file(output),
        because: words)
    }
    // Artefacts have the same mode whatever the tool's umask.
    guard chmod(made, 0o644) == 0, rename(made, output) == 0 else {
      throw QuenchError(
        .work, "cannot put \"\(output)\" in place: \(String(cString: strerror(errno)))")
    }
  }

  private static func failure(_ printed: ATCOutput, _ words: ToolOutput) -> QuenchError {
    if words.status == 127 || words.text.contains("error while loading shared libraries") {
      return QuenchError(
        .unavailable,
        "atc cannot start: a shared library of the toolkit or of the driver is "
          + "missing",
        try: "source the toolkit's set_env.sh; without an NPU driver add its devlib directory to "
          + "LD_LIBRARY_PATH", because: words)
    }
    if words.status == 128 + SIGKILL {
      return QuenchError(
        .work, "atc was killed, most likely for want of memory",
        try: "TE_PARALLEL_COMPILER=1 lowers its need", because: words)
    }
    guard let block = printed.failure else {
      let last = words.text.split(whereSeparator: \.isNewline).last.map { ": \($0)" } ?? ""
      return QuenchError(
        .work, "atc failed with exit status \(words.status)\(last)", because: words)
    }
    let code = block.code.isEmpty ? "" : " (\(block.code))"
    var message = block.message
    while message.hasSuffix(".") || message.hasSuffix(" ") { message.removeLast() }
    return QuenchError(
      block.code == "EC0010" ? .unavailable : .work, "atc failed\(code): \(message)",
      try: block.solution ?? advice[block.code] ?? block.cause.map { "look for: \($0)" },
      because: words)
  }

  /// What to do about codes whose blocks carry no solution.
  private static let advice: [String: String] = [
    "EC0010": "python3 -m pip install the module named, for the system's python3",
    "E10001": "\"atc --help\" lists the values",
    "E10052": "--insert_op_conf takes an AIPP file, never calibration.cfg",
    "EZ3003": "keep the operator out of the model, or install the operator package of the chip",
    "E19999": "set ASCEND_SLOG_PRINT_TO_STDOUT=1 and run again",
  ]

  private static func absolute(_ path: String) throws(QuenchError) -> String {
    guard let real = realpath(path, nil) else {
      throw QuenchError(.unavailable, "atc is no longer at \"\(path)\"")
    }
    free(real)
    // The path as given, not resolved: the wrapper may be found through its link's name.
    return path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
  }
}

// MARK: - The run's directory

/// A fresh directory beside the output, in which the tool runs.
private struct RunDirectory {
  let path: String
  /// The output's name without `.om`.
  let name: String
  /// Leads from the directory back to the current one; nil when only absolute paths are safe.
  private let up: String?

  init(beside output: String) throws(QuenchError) {
    let parts = output.split(separator: "/", omittingEmptySubsequences: false)
    let file = parts.last.map(String.init) ?? output
    name = file.hasSuffix(".om") ? String(file.dropLast(3)) : file
    let parent = parts.dropLast().joined(separator: "/")
    let directory = "\(output.hasPrefix("/") || !parent.isEmpty ? parent + "/" : "").atc-\(name)"
    try FileContent.makeDirectory(parent.isEmpty ? "." : parent)
    RunDirectory.remove(directory)
    guard mkdir(directory, 0o755) == 0 else {
      throw QuenchError(
        .work, "cannot create directory \"\(directory)\": \(String(cString: strerror(errno)))")
    }
    path = directory
    // Links on the way would make ".." lead elsewhere.
    let here = FileManager.default.currentDirectoryPath
    let real = realpath(directory, nil).map { pointer in
      defer { free(pointer) }
      return String(cString: pointer)
    }
    let plain = !directory.hasPrefix("/") && real == "\(here)/\(directory)"
    let depth = directory.split(separator: "/").count
    up = plain ? String(repeating: "../", count: depth) : nil
  }

  /// A path of the current directory, as it is written from inside.
  func reaching(_ path: String) -> String {
    if path.isEmpty || path.hasPrefix("/") { return path }
    return (up ?? FileManager.default.currentDirectoryPath + "/") + path
  }

  /// The OM file that the tool left: `name.om`, or `name_<system>_<cpu>.om`.
  func compiled() -> String? {
    let plain = "\(path)/\(name).om"
    if access(plain, R_OK) == 0 { return plain }
    for machine in ["x86_64", "aarch64"] {
      let host = "\(path)/\(name)_linux_\(machine).om"
      if access(host, R_OK) == 0 { return host }
    }
    return nil
  }

  func remove() { RunDirectory.remove(path) }

  private static func remove(_ directory: String) {
    // What cannot be removed is no reason to fail: the next run tries again.
    try? FileManager.default.removeItem(atPath: directory)
  }
}
