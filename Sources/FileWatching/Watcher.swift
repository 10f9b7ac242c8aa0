// SPDX-License-Identifier: Apache-2.0
// FileWatching: files and directory trees watched, changes handed out in settled batches.

public import Diagnostics
internal import Glibc

/// Watches files and directory trees.
///
/// A directory is watched with all that is below it, whatever may come to be there; a file is
/// watched through its directory, so that it may be replaced, removed and made again. A path that
/// does not exist is waited for. A directory is first watched and then listed, so nothing that is
/// made meanwhile is missed; when the kernel loses events, everything is watched anew and the
/// batch says so.
///
/// What inotify cannot see is not seen: stores through a memory map, changes under another hard
/// link's name, and on network file systems the changes of other machines (`deafPaths`).
///
/// Not safe to use from several threads at once; use it from one that may block.
public final class Watcher {
  private let queue: InotifyQueue
  private let interrupt: Int32?
  private let ignored: [String]
  private var roots: Set<String> = []
  private var table = WatchTable()
  private var debounce = Debounce()
  /// How files that are held back as open stood when they were last looked at.
  private var openFiles: [String: FileState] = [:]
  private var lost = false
  /// Watched paths that may now be something else than before.
  private var doubtful: Set<String> = []

  /// Watched paths on file systems that do not report what other machines change.
  public private(set) var deafPaths: [String] = []

  /// Starts watching; changes from now on are reported.
  ///
  /// - Parameters:
  ///   - paths: files and directories, existing or not.
  ///   - ignored: paths that are neither watched nor reported, with all below them.
  ///   - interrupt: a descriptor that becomes readable when waiting shall end; it stays the
  ///     caller's and is not read.
  /// - Throws: `.unavailable` when the user's inotify watches or instances are used up.
  public init(
    paths: [String], ignoring ignored: [String] = [], interrupt: Int32? = nil
  ) throws(QuenchError) {
    queue = try InotifyQueue()
    self.interrupt = interrupt
    self.ignored = ignored.map(WatchedPath.normalized)
    try update(paths: paths)
  }

  /// Watches these paths and no others from now on.
  ///
  /// A path that was not watched before may have changed before this call returns: watch first,
  /// then look.
  /// - Throws: `.unavailable` when no watch is left.
  public func update(paths: [String]) throws(QuenchError) {
    roots = Set(paths.map(WatchedPath.normalized))
    deafPaths = roots.filter { FileState.isRemote($0) }.sorted()
    try watchAnew()
  }

  /// Waits for changes and for their end.
  ///
  /// - Parameters:
  ///   - quietMilliseconds: a burst of changes is over when nothing has come for this long; a
  ///     single change after half a second of rest is reported after 5 ms at most, and a burst
  ///     that does not end after 500 ms.
  ///   - timeoutMilliseconds: give up after this long with an empty batch; nil waits for ever.
  /// - Returns: the batch; nil when the interrupt descriptor is readable.
  /// - Throws: `.unavailable` when a new directory cannot be watched since no watch is left.
  public func nextBatch(
    quietMilliseconds: Int = 20, timeoutMilliseconds: Int? = nil
  ) throws(QuenchError) -> ChangeBatch? {
    precondition(quietMilliseconds >= 0, "the reader of options checks this first")
    debounce.quiet = .milliseconds(quietMilliseconds)
    let end = timeoutMilliseconds.map { Watcher.now() + .milliseconds($0) }
    while true {
      guard !isInterrupted(waitingUntil: debounce.deadline, end) else { return nil }
      try takeEvents()
      let now = Watcher.now()
      for path in debounce.expired(at: now) { recheckOpen(path, at: now) }
      if let batch = debounce.settle(at: now) { return batch }
      if let end, end <= now { return ChangeBatch(paths: []) }
    }
  }

  /// Time since some moment, never going back.
  private static func now() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
  }

  /// Sleeps until there are events, the earlier of two moments has come, or the interrupt.
  private func isInterrupted(waitingUntil first: Duration?, _ second: Duration?) -> Bool {
    var milliseconds: Int32 = -1
    if let until = [first, second].compactMap({ $0 }).min() {
      let left = (until - Watcher.now()).components
      let exact =
        left.seconds * 1_000 + (left.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
      milliseconds = Int32(clamping: max(0, exact))
    }
    var descriptors = [pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)]
    if let interrupt {
      descriptors.append(pollfd(fd: interrupt, events: Int16(POLLIN), revents: 0))
    }
    // A signal ends poll early; the caller's loop just waits again.
    let count = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    return count > 0 && descriptors.count > 1 && descriptors[1].revents != 0
  }
}

// MARK: - Events

extension Watcher {
  /// Reads what the kernel has, at most so much that a fast writer cannot keep us here.
  private func takeEvents() throws(QuenchError) {
    for _ in 0..<64 {
      let events = try queue.read()
      if events.isEmpty { break }
      let now = Watcher.now()
      for event in events { try take(event, at: now) }
    }
    let now = Watcher.now()
    if lost {
      lost = false
      debounce.noteOverflow(at: now)
      try watchAnew()
    }
    for root in doubtful.sorted() {
      note(root, .complete, at: now)
      table.removeInterests(of: root)
      try establish(root, reportAt: now)
    }
    doubtful = []
  }

  private func take(_ event: InotifyEvent, at now: Duration) throws(QuenchError) {
    // A file system that is unmounted takes its watches along without a word on the files.
    if event.isOverflow || event.has(IN_UNMOUNT) {
      lost = true
      return
    }
    if event.isEnd {
      table.remove(event.watch)
      return
    }
    // A watch that was ended may still have had events in the queue: it has no paths.
    for directory in table.paths(of: event.watch) {
      if event.name.isEmpty {
        // The directory itself has moved or gone: what was to be found through it is in doubt.
        if event.has(IN_MOVE_SELF | IN_DELETE_SELF) {
          doubtful.formUnion(table.interested(inAnyOf: directory))
          if roots.contains(directory) { doubtful.insert(directory) }
        }
        continue
      }
      let path = WatchedPath.join(directory, event.name)
      for root in table.interested(in: event.name, of: directory) {
        if event.isDirectory || root != path {
          if event.isArrival || event.isDeparture { doubtful.insert(root) }
          if event.has(IN_MOVED_FROM) { endTree(path) }
          note(root, .complete, at: now)
        } else {
          // A link may now lead elsewhere.
          if event.isArrival || event.isDeparture, isLink(root) { doubtful.insert(root) }
          noteFile(root, event, at: now)
        }
      }
      guard table.isTree(directory), !isIgnored(path) else { continue }
      if event.isDirectory {
        note(path, .complete, at: now)
        // The watches follow a directory that is moved; they must not report its old name.
        if event.has(IN_MOVED_FROM | IN_MOVED_TO) { endTree(path) }
        if event.isArrival { try watchTree(path, reportAt: now) }
      } else {
        noteFile(path, event, at: now)
        if event.isArrival, FileState(path)?.isDirectory == true {
          try watchTree(path, reportAt: now)
        }
      }
    }
  }

  private func noteFile(_ path: String, _ event: InotifyEvent, at now: Duration) {
    if event.has(IN_CREATE), let state = FileState(path), state.isRegular, state.links == 1 {
      note(path, .open, at: now)
      openFiles[path] = state
    } else {
      note(path, .complete, at: now)
    }
  }

  private func note(_ path: String, _ condition: Debounce.Condition, at now: Duration) {
    guard !isIgnored(path) else { return }
    if condition == .complete { openFiles[path] = nil }
    debounce.note(path, condition, at: now)
  }

  /// Holds a file that is still growing for another while.
  private func recheckOpen(_ path: String, at now: Duration) {
    let state = FileState(path)
    guard let state, state != openFiles[path] else {
      openFiles[path] = nil
      return
    }
    openFiles[path] = state
    debounce.note(path, .open, at: now)
  }

  private func isIgnored(_ path: String) -> Bool {
    ignored.contains { path == $0 || path.hasPrefix($0 + "/") }
  }

  private func isLink(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }
}

// MARK: - Watches

extension Watcher {
  /// Sets all watches again and ends those that are not needed any more.
  private func watchAnew() throws(QuenchError) {
    let before = table.watches
    table = WatchTable()
    for root in roots.sorted() { try establish(root, reportAt: nil) }
    for watch in before.subtracting(table.watches) { queue.end(watch) }
  }

  /// Watches a path: the directory that holds it, or the nearest that exists; a directory's tree;
  /// and of a link to a file, the file's own directory.
  private func establish(_ root: String, reportAt now: Duration?) throws(QuenchError) {
    try watchWay(to: root)
    guard let state = FileState(root) else { return }
    if state.isDirectory {
      try watchTree(root, reportAt: now)
    } else if isLink(root), let real = FileState.resolved(root),
      let (directory, name) = WatchedPath.split(real), let watch = try queue.watch(directory)
    {
      table.add(watch, directory)
      table.addInterest(of: root, in: name, of: directory)
    }
  }

  /// Watches the nearest existing directory above a path for the next component of the way.
  private func watchWay(to root: String) throws(QuenchError) {
    // Each round finds the way longer than the last one did, or ends.
    for _ in 0..<64 {
      guard var (directory, name) = WatchedPath.split(root) else { return }
      let parent = directory
      var watch = try queue.watch(directory)
      while watch == nil, let above = WatchedPath.split(directory) {
        (directory, name) = above
        watch = try queue.watch(directory)
      }
      guard let watch else { return }
      table.add(watch, directory)
      table.addInterest(of: root, in: name, of: directory)
      // Watched first, then looked: what has come meanwhile makes no event.
      if directory == parent || FileState(WatchedPath.join(directory, name)) == nil { return }
      guard FileState(WatchedPath.join(directory, name))?.isDirectory == true else { return }
    }
  }

  /// Watches a directory and all below it; reports all that it finds if a moment is given.
  private func watchTree(_ top: String, reportAt now: Duration?) throws(QuenchError) {
    var waiting = [top]
    while let directory = waiting.popLast() {
      guard !isIgnored(directory), let watch = try queue.watch(directory) else { continue }
      // A link to a directory above: its tree is watched already, and it has no end.
      let isLoop = table.paths(of: watch).contains {
        directory.hasPrefix($0 == "/" ? "/" : $0 + "/") || ($0 == "." && !directory.hasPrefix("/"))
      }
      if isLoop, isLink(directory) { continue }
      table.add(watch, directory)
      table.makeTree(directory)
      for child in FileState.children(of: directory) {
        let path = WatchedPath.join(directory, child.name)
        if let now { note(path, .complete, at: now) }
        if child.isDirectory { waiting.append(path) }
      }
    }
  }

  private func endTree(_ directory: String) {
    for watch in table.removeTree(directory) { queue.end(watch) }
  }
}
