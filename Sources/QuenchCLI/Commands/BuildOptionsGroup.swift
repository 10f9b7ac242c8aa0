// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the options of the verbs around the build; letters mean what they mean to Ninja.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine
internal import Diagnostics
internal import Glibc
internal import Pipeline

/// Which build: shared by build, watch, status, why, graph, clean.
struct ProjectOptions: ParsableArguments {
  @Option(
    name: .customShort("C", allowingJoined: true),
    help: ArgumentHelp("Change to this directory first.", valueName: "dir"))
  var directory: String?

  @Option(
    name: .customShort("f", allowingJoined: true),
    help: ArgumentHelp("Build this manifest in place of quench.yaml.", valueName: "build.ninja"))
  var manifest: String?

  /// Changes directory, finds the manifest and makes it the first time.
  ///
  /// - Throws: `.noInput` when there is nothing to build here.
  func prepare() throws(QuenchError) -> BuildOptions {
    try ProjectOptions.prepare(directory: directory, manifest: manifest)
  }

  static func prepare(directory: String?, manifest: String?) throws(QuenchError) -> BuildOptions {
    if let directory, chdir(directory) != 0 {
      throw QuenchError(
        .noInput, "cannot enter \"\(directory)\": \(String(cString: strerror(errno)))",
        at: .option("-C"))
    }
    var options = BuildOptions()
    options.ownExecutable = ProjectOptions.ownPath
    if let manifest { options.manifest = manifest } else { options.manifest = try chooseManifest() }
    return options
  }

  /// The path of this binary, as the kernel knows it.
  private static var ownPath: String? {
    guard let path = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(path) }
    return String(cString: path)
  }

  /// A build of the manifest; one of ours that cannot be read is made anew.
  static func opened(
    _ options: BuildOptions, after glance: Glance? = nil
  ) throws(QuenchError) -> Build {
    do throws(QuenchError) {
      return try Build(options, after: glance)
    } catch {
      guard options.manifest == Layout.manifest else { throw error }
      try Generator(Surroundings.ofThisMachine()).run()
      return try Build(options)
    }
  }

  /// A build to ask questions of: its manifest is up to date first, so that the answers are those of
  /// the next build. Runs no stage.
  func question() throws(QuenchError) -> Build { try ProjectOptions.question(prepare()) }

  /// The same with options that were prepared before.
  static func question(_ options: BuildOptions) throws(QuenchError) -> Build {
    let build = try opened(options)
    // Nothing is written where nothing has to be: a project that may only be read can be asked.
    guard options.manifest == Layout.manifest,
      try build.status(targets: [Layout.manifest]).contains(where: { $0.reason != nil })
    else { return build }
    let summary = try build.run(targets: [Layout.manifest]) { event in
      if case .finished(_, .failed, let output, _, _) = event { Terminal.write(2, output) }
    }
    guard summary.exitCode == 0 else {
      throw QuenchError(
        QuenchError.Kind(rawValue: summary.exitCode) ?? .work,
        "the manifest could not be brought up to date", at: .file(Layout.recipe))
    }
    return build
  }

  private static func chooseManifest() throws(QuenchError) -> String {
    if access(Layout.recipe, F_OK) == 0 {
      let surroundings = Surroundings.ofThisMachine()
      try FileContent.makeDirectory(Layout.state)
      try FileContent.replaceIfChanged(
        Layout.surroundings, with: Array(surroundings.description.utf8))
      // From the second build on, an edge of the manifest itself keeps it up to date.
      if access(Layout.manifest, F_OK) != 0 { try Generator(surroundings).run() }
      return Layout.manifest
    }
    if access("build.ninja", F_OK) == 0 { return "build.ninja" }
    throw QuenchError(
      .noInput, "there is no quench.yaml here (and no build.ninja)",
      try: "quench init --model net.onnx --images photos/")
  }
}

/// How to build: shared by build, bundle and watch.
struct RunOptions: ParsableArguments {
  @Option(
    name: [.customShort("j", allowingJoined: true), .long],
    help: ArgumentHelp("Commands at once; 0: no limit.", valueName: "n"))
  var jobs: Int?

  @Option(
    name: .customShort("k", allowingJoined: true),
    help: ArgumentHelp("Failures to stop after; 0: never.", valueName: "n"))
  var keepGoing: Int = 1

  @Option(
    name: .customShort("l", allowingJoined: true),
    help: ArgumentHelp("Start nothing above this load average.", valueName: "load"))
  var load: Double?

  @Flag(name: .customShort("n"), help: "Say what would run; run nothing.") var dryRun = false
  @Flag(name: .shortAndLong, help: "Show whole commands.") var verbose = false
  @Flag(name: .shortAndLong, help: "Show only warnings and errors.") var quiet = false

  @Option(
    name: .customShort("d", allowingJoined: true),
    help: ArgumentHelp(
      "explain: say why each edge runs; stats: say where the time went; keeprsp, keepdepfile: "
        + "leave response files, depfiles.", valueName: "mode"))
  var debug: [DebugMode] = []

  @Flag(help: "Leave outputs that no edge makes any more.") var keepDead = false
  @Flag(help: "Make edited files anew; what was edited is kept beside them.")
  var discardEdits = false

  @Flag(inversion: .prefixedNo, help: "Keep outputs in .quench/cache and take them from there.")
  var cache: Bool?
  @Flag(help: "One JSON object a line in place of text: started, finished, skipped, ...")
  var events = false
  @Option(help: ArgumentHelp("Write the build as a Chrome trace.", valueName: "file"))
  var trace: String?

  enum DebugMode: String, ExpressibleByArgument, CaseIterable {
    case explain, stats, keeprsp, keepdepfile
  }

  mutating func validate() throws {
    if let jobs, jobs < 0 { throw ValidationError("-j takes a number from 0 on") }
    if keepGoing < 0 { throw ValidationError("-k takes a number from 0 on") }
  }

  func apply(to options: inout BuildOptions) {
    if let jobs { options.jobs = jobs }
    options.keepGoing = keepGoing
    options.loadLimit = load
    options.dryRun = dryRun
    options.verbose = verbose
    options.explain = debug.contains(.explain)
    options.measures = debug.contains(.stats)
    options.keepsResponseFiles = debug.contains(.keeprsp)
    options.keepsDepfiles = debug.contains(.keepdepfile)
    options.keepDead = keepDead
    options.discardEdits = discardEdits
    if let cache { options.cache = cache ? .on(limit: nil) : .off }
    options.reportsFresh = events
    RunOptions.watchMachine(&options, jobsGiven: jobs != nil, isQuiet: quiet || events)
  }

  /// What depends on where the build runs: under a make, on a terminal.
  static func watchMachine(_ options: inout BuildOptions, jobsGiven: Bool, isQuiet: Bool) {
    // Tokens of a make above count only where nobody said how many jobs there are to be.
    options.usesJobserver = !jobsGiven
    options.wantsEstimate = Style.output.isTerminal && !isQuiet
    options.ticks = options.wantsEstimate
  }
}
