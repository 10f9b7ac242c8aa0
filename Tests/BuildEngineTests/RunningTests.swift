// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("Running commands")
struct RunningTests {
  @Test("the output of a command comes in one piece, both streams together")
  func output() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule say
        command = for i in 1 2 3; do echo $out $$i; echo err >&2; done; touch $out
      build a: say
      build b: say

      """)
    let outcome = try world.build([]) { $0.jobs = 2 }
    #expect(outcome.outputs["a"] == "a 1\nerr\na 2\nerr\na 3\nerr\n")
    #expect(outcome.outputs["b"] == "b 1\nerr\nb 2\nerr\nb 3\nerr\n")
  }

  @Test("a long output is kept whole")
  func longOutput() throws {
    let world = World()
    world.write(
      "build.ninja", "rule say\n  command = seq 1 200000; touch $out\nbuild a: say\n")
    let text = try #require(try world.build().outputs["a"])
    #expect(text.hasSuffix("\n199999\n200000\n"))
    #expect(text.hasPrefix("1\n2\n"))
  }

  @Test("standard input is empty", .enabled(if: World.hasNull, "/dev/null is no device here"))
  func input() throws {
    let world = World()
    world.write("build.ninja", "rule r\n  command = cat > $out\nbuild a: r\n")
    try world.build()
    #expect(world.text("a") == "")
  }

  @Test("the exit code of our own verbs is the build's, any other is 1")
  func exitCodes() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = $cmd\nbuild a: r\n  cmd = ./bin/quench gate\nbuild b: r\n  cmd = exit 65\n"
    )
    world.write("bin/quench", "#!/bin/sh\nexit 2\n")
    chmod(world.space.path("bin/quench"), 0o755)
    #expect(try world.build(["a"]).summary.exitCode == 2)
    #expect(try world.build(["b"]).summary.exitCode == 1)
  }

  @Test("the name quench means the executable that runs the build")
  func ownExecutable() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = quench one $out\nrule s\n  command = quench two $out; true\n"
        + "build a: r\nbuild b: s\n")
    world.write("own/quench", "#!/bin/sh\necho $1 > $2\n")
    chmod(world.space.path("own/quench"), 0o755)
    let path = world.space.path("own/quench")
    let change = { (options: inout BuildOptions) in options.ownExecutable = path }
    #expect(try world.build([], change).summary.exitCode == 0)
    #expect(world.text("a") == "one\n")
    #expect(world.text("b") == "two\n")
  }

  @Test("a failing command stops the build, its dependants never run, -k goes on with others")
  func keepGoing() throws {
    let world = World()
    world.write(
      "build.ninja",
      World.rules + "rule bad\n  command = exit 3\nbuild a: bad\nbuild b: cp a\nbuild c: cp s\n")
    world.write("s", "1")
    let outcome = try world.build([]) {
      $0.keepGoing = 0
      $0.jobs = 1
    }
    #expect(outcome.ran == ["a", "c"])
    #expect(outcome.failures["a"] == "exit code 3")
    #expect(outcome.summary.blocked == 1)
    #expect(world.exists("c"))
  }

  @Test("an alias is no work: neither fresh nor left over when what it stands for fails")
  func aliases() throws {
    let world = World()
    world.write(
      "build.ninja",
      World.rules + "rule bad\n  command = exit 3\nbuild a: bad\nbuild c: cp s\nbuild d: cp a\n"
        + "build all: phony a c\nbuild others: phony c\nbuild top: phony all d\n")
    world.write("s", "1")
    let outcome = try world.build([]) { $0.keepGoing = 0 }
    #expect(outcome.summary.ran == 1 && outcome.summary.failed.count == 1)
    #expect(outcome.summary.fresh == 0)
    #expect(outcome.summary.blocked == 1)
    let again = try world.build([]) { $0.keepGoing = 0 }
    #expect(again.summary.fresh == 1 && again.summary.blocked == 1)
  }

  @Test("a command that does not exist is told as the shell tells it")
  func notFound() throws {
    let world = World()
    world.write("build.ninja", "rule r\n  command = no-such-tool x\nbuild a: r\n")
    let outcome = try world.build()
    #expect(outcome.failures["a"] == "exit code 127")
    #expect(outcome.outputs["a"]?.contains("no-such-tool") == true)
  }

  @Test("progress that a command reports is passed on")
  func progress() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = echo 3 7 >&$$QUENCH_PROGRESS_FD; touch $out\nbuild a: r\n  progress = 1\n"
    )
    var seen: [String] = []
    try world.build([]) { _ in
    } during: { event, _ in
      if case .progress(let info, let done, let total, _) = event {
        seen.append("\(info.output) \(done) \(total)")
      }
    }
    #expect(seen == ["a 3 7"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a command's words and notes are passed on too, the last before its end, in one line each")
  func notes() throws {
    let world = World()
    let words = #"1 2 loss 0.5\nnote epoch 1\nnote a\tb\033[31m\nnonsense\n2 2\n"#
    world.write(
      "build.ninja",
      "rule r\n  command = printf '\(words)' >&$$QUENCH_PROGRESS_FD; touch $out\n"
        + "build a: r\n  progress = 1\n")
    var seen: [String] = []
    try world.build([]) { _ in
    } during: { event, _ in
      switch event {
      case .progress(_, let done, let total, let detail): seen.append("\(done)/\(total) \(detail)")
      case .note(let info, let text): seen.append("\(info.output): \(text)")
      case .finished: seen.append("end")
      default: break
      }
    }
    #expect(seen == ["a: epoch 1", "a: a b [31m", "2/2 ", "end"])
  }

  @Test("a shell that the system refuses to load is told, and the build ends")
  func notLoaded() throws {
    let world = World("build a: cp x\nbuild b: cp x\n", ["x": "1"])
    // One variable may have 128 KiB (execve(2)); the process is there before that is found out.
    world.environment["BIG"] = String(repeating: "x", count: 1 << 18)
    let error = #expect(throws: QuenchError.self) { try world.build() }
    #expect(error?.message.contains("cannot start") == true)
    #expect(error?.kind == .work)
    world.environment = [:]
    #expect(try world.build().ran.sorted() == ["a", "b"])
  }

  @Test("an interrupt right after the start reaches a command whose program is not loaded yet")
  func earlyInterrupt() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = sleep 100; touch $out\nbuild a: r\nbuild b: r\nbuild c: r\n")
    let clock = ContinuousClock()
    let begun = clock.now
    let outcome = try world.build([]) {
      $0.jobs = 3
    } during: { event, build in
      if case .started(let info, _, _) = event, info.output == "c" { build.interrupt() }
    }
    #expect(outcome.summary.exitCode == 130)
    #expect(clock.now - begun < .seconds(50))
  }

  @Test("a file that another command made just before the start is an input once it is named")
  func madeJustBefore() throws {
    let world = World(
      """
      rule wait
        command = sleep 1; touch $out
      rule make
        command = sleep 0.008; cp source side; touch $out
      rule read
        command = cat side > $out
      build long: wait
      build made: make
      build read: read

      """, ["source": "1"])
    #expect(try world.build([]) { $0.jobs = 2 }.warnings.isEmpty)
    world.write("side", "2")
    #expect(try world.build([]) { $0.jobs = 2 }.ran.contains("read"))
  }

  @Test("an interrupt ends commands, removes what they left half-made, and is told")
  func interrupt() throws {
    let world = World("", ["x": "1\n"])
    world.write(
      "build.ninja",
      """
      rule r
        command = echo half > $out; echo 1 2 >&$$QUENCH_PROGRESS_FD; sleep 100; echo whole > $out
      build a: r
        progress = 1

      """)
    let outcome = try world.build([]) { _ in
    } during: { event, build in
      if case .progress = event { build.interrupt() }
    }
    #expect(outcome.summary.interrupted)
    #expect(outcome.summary.exitCode == 130)
    #expect(!world.exists("a"))
    let next = try world.build([]) { $0.dryRun = true }
    #expect(next.reasons["a"] == .missingOutput("a") || next.reasons["a"] == .neverBuilt)
  }

  @Test("a second interrupt ends even what ignores the first")
  func secondInterrupt() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule r
        command = trap '' INT; echo 1 2 >&$$QUENCH_PROGRESS_FD; sleep 100; sleep 100
      build a: r
        progress = 1

      """)
    let outcome = try world.build([]) { _ in
    } during: { event, build in
      if case .progress = event {
        build.interrupt()
        build.interrupt()
      }
    }
    #expect(outcome.summary.exitCode == 130)
  }

  @Test("an interrupt does not wait for what a command left in the background, deaf to it")
  func background() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule r
        command = echo half > $out; sleep 100 & sleep 0.2; echo 1 2 >&$$QUENCH_PROGRESS_FD; wait
      build a: r
        progress = 1

      """)
    let clock = ContinuousClock()
    var interrupted = clock.now
    let outcome = try world.build([]) { _ in
    } during: { event, build in
      guard case .progress = event else { return }
      interrupted = clock.now
      build.interrupt()
    }
    #expect(outcome.summary.exitCode == 130)
    #expect(clock.now - interrupted < .seconds(50))
    #expect(!world.exists("a"))
  }

  @Test("no descriptor is left open, whatever happened")
  func descriptors() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule ok\n  command = touch $out\nrule bad\n  command = false\nbuild a: ok\nbuild b: bad\n")
    func open() -> Int { (0..<256).count { fcntl(Int32($0), F_GETFD) >= 0 } }
    // Other tests open and close descriptors at the same time: the least of many looks counts.
    var before = Int.max
    var after = Int.max
    for _ in 0..<5 {
      before = min(before, open())
      try world.build([]) { $0.keepGoing = 0 }
    }
    for _ in 0..<20 {
      try world.build([]) { $0.keepGoing = 0 }
      after = min(after, open())
    }
    #expect(after <= before + 20)
  }

  @Test(
    "Quench's directory stands last in PATH, behind the shell's own where there is none",
    arguments: [
      (nil, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/q\n"),
      ("/bin", "/bin:/opt/q\n"),
    ])
  func path(_ given: String?, _ expected: String) throws {
    let world = World(
      "rule r\n  command = echo $$PATH > $out; cat a >> $out\nbuild b: r a\n", ["a": ""])
    let outcome = try world.build([]) {
      $0.ownExecutable = "/opt/q/quench"
      $0.environment = ["PATH": given].compactMapValues { $0 }
    }
    #expect(outcome.failures.isEmpty)
    #expect(world.text("b") == expected)
  }

  @Test("a second build waits for the first and says so")
  func waits() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    let files = try FileSystem(world.space.path)
    var lock: BuildLock? = try BuildLock(".quench/lock", files: files) { _ in }
    var holder: Int32?
    let outcome = try world.build([]) { _ in
    } during: { event, _ in
      if case .waitingForLock(let pid) = event {
        holder = pid
        lock = nil
      }
    }
    #expect(holder == getpid())
    #expect(lock == nil)
    #expect(outcome.ran == ["b"])
  }

  @Test("directories of outputs, depfiles and response files are made")
  func directories() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule r
        command = cat $rspfile > $out; echo "$out:" > $depfile
        rspfile = rsp/x/y
        rspfile_content = text
        depfile = dep/x/y
      build out/x/y: r

      """)
    try world.build()
    #expect(world.text("out/x/y") == "text")
  }

  @Test("a dry run names all that would run and touches nothing")
  func dryRun() throws {
    let world = World("build b: cp a\nbuild c: cp b\n", ["a": "1"])
    let outcome = try world.build([]) { $0.dryRun = true }
    #expect(outcome.ran == ["b", "c"])
    #expect(!world.exists("b"))
    #expect(!world.exists(".quench"))
  }

  @Test("validations are built with what names them")
  func validations() throws {
    let world = World("build b: cp a |@ check\nbuild check: cp b\n", ["a": "1"])
    #expect(try world.build(["b"]).ran.sorted() == ["b", "check"])
  }

  @Test(
    "a shell is used only where it makes a difference",
    arguments: [
      ("cc -c a.c -o a.o", true), ("tool --method=mse x", true), ("a | b", false),
      ("echo x", false), ("X=1 tool", false), ("tool 'a b'", false), ("cd x", false),
      ("tool ~/x", false), ("tool a~b 50%", true), ("tool *.c", false), ("tool a > b", true),
      ("tool a >b", true), ("tool a >> b", false), ("tool a 2> b", false), ("tool a2> b", false),
      ("tool a > b c", false), ("tool a > b > c", false), ("tool a >& b", false),
      ("tool a >| b", false), ("tool a > $b", false), ("tool a > ~/b", false),
      ("tool a > #b", false), ("tool a > 'b'", false), ("tool a >", false), ("> b", false),
      ("echo a > b", false), ("tool a < b > c", false), ("tool a > b; x", false),
      ("tool a > b~c#", true), ("tool \\> b", false),
    ])
  func shell(_ command: String, _ isPlain: Bool) {
    #expect((ShellWords.plain(Array(command.utf8)) != nil) == isPlain)
  }

  @Test("what a command without a shell is, and where its output goes")
  func plain() {
    func plain(_ command: String) -> ShellWords.Plain? { ShellWords.plain(Array(command.utf8)) }
    #expect(plain(" cat  a b ") == ShellWords.Plain(program: "cat", words: 10))
    #expect(
      plain("cat a b > out/c  ") == ShellWords.Plain(program: "cat", words: 8, file: "out/c"))
    #expect(
      plain("./cat a >ü=:c") == ShellWords.Plain(program: "./cat", words: 8, file: "ü=:c"))
  }

  @Test("output that goes to a file is written as a shell would write it")
  func redirected() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule cat
        command = cat $in > $out
      rule no
        command = cat a > none/$out
      rule missing
        command = no-such-program a > $out
      rule script
        command = ./script a > $out
      build shorter: cat a
      build unopened: no
      build unstarted: missing
      build said: script

      """)
    world.write("a", "a\n")
    world.write("shorter", "much longer than before\n")
    world.write("script", "echo error >&2\necho $1\n")
    chmod(world.space.path("script"), 0o755)
    let outcome = try world.build([]) { $0.keepGoing = 0 }
    #expect(world.text("shorter") == "a\n")
    // A script without a first line is the shell's business.
    #expect(world.text("said") == "a\n")
    #expect(outcome.outputs["said"] == "error\n")
    // Both failures in the shell's words, and with its codes.
    #expect(outcome.failures["unopened"]?.contains("exit code 2") == true)
    #expect(outcome.outputs["unopened"]?.contains("none/unopened") == true)
    #expect(outcome.failures["unstarted"]?.contains("exit code 127") == true)
    #expect(outcome.outputs["unstarted"]?.contains("no-such-program") == true)
    #expect(world.text("unstarted") == "")
  }

  @Test("words of a command: programs, files, and what is written to")
  func words() {
    let words = ShellWords.split(
      Array("cd x && FOO=1 cc 'a b.c' -o \"o\" 2>&1 >>log; if test -e y; then z; fi".utf8))
    #expect(words.filter(\.isCommand).map(\.text) == ["cd", "cc", "if", "test", "then", "z", "fi"])
    #expect(words.filter(\.isWritten).map(\.text) == ["1", "log"])
    #expect(words.contains { $0.text == "a b.c" && !$0.isCommand })
  }
}
