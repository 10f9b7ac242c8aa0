// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the one live line.

internal import BuildEngine

/// What runs, how much is done, images per second and time left; redrawn at most ten times a
/// second, cut to the terminal's width, absent where standard output is no terminal.
struct ProgressLine {
  private struct Running {
    /// The edge's number.
    var index: Int
    var description: String
    var done = 0
    var total = 0
    /// What the command says itself; then nothing is computed from the counts.
    var detail = ""
    let start: Moment
    /// Where speed is measured from: the first report of this work, which may continue older work.
    var first: (done: Int, at: Moment)?

    /// Pieces a second; nil while that is not known.
    func rate(_ now: Moment) -> Double? {
      guard detail.isEmpty, let first, done > first.done else { return nil }
      let seconds = (now - first.at) / .seconds(1)
      return seconds > 0 ? Double(done - first.done) / seconds : nil
    }
  }

  /// What runs, the oldest first.
  private var running: [Running] = []
  private var counts: BuildCounts?
  private var isDrawn = false
  private var lastDraw: Moment?

  mutating func start(_ edge: EdgeInfo, _ counts: BuildCounts) {
    self.counts = counts
    running.append(
      Running(index: edge.index, description: edge.description, start: .now))
    draw()
  }

  mutating func advance(_ edge: EdgeInfo, done: Int, of total: Int, _ detail: String) {
    guard let place = running.firstIndex(where: { $0.index == edge.index }) else { return }
    var state = running[place]
    if state.first == nil || done < state.done || total != state.total {
      state.first = (done, .now)
    }
    (state.done, state.total, state.detail) = (done, total, detail)
    running[place] = state
    draw()
  }

  mutating func finish(_ edge: EdgeInfo, _ counts: BuildCounts) {
    self.counts = counts
    running.removeAll { $0.index == edge.index }
    draw()
  }

  /// Time went by without an event.
  mutating func tick(_ counts: BuildCounts) {
    self.counts = counts
    draw()
  }

  mutating func clear() {
    guard isDrawn else { return }
    Terminal.write(1, "\r\u{1B}[K")
    isDrawn = false
    lastDraw = nil
  }

  private mutating func draw() {
    guard Style.output.isTerminal else { return }
    let now = Moment.now
    if let lastDraw, now - lastDraw < .milliseconds(100) { return }
    lastDraw = now
    Terminal.write(1, "\r\(String(text(now).prefix(max(1, Terminal.width - 1))))\u{1B}[K")
    isDrawn = true
  }

  /// `[3/10, 2 running, 4 unknown, 12 s left] cc big.c (8 s) and 1 more`.
  func text(_ now: Moment) -> String {
    var text = ""
    if let counts {
      text = "[\(counts.finished)/\(counts.total)"
      if counts.running > 1 { text += ", \(counts.running) running" }
      if counts.unknown > 0 { text += ", \(counts.unknown) unknown" }
      if let left = counts.left, left >= .seconds(1) {
        text += ", \(ProgressLine.short(left)) left"
      }
      text += "]"
    }
    guard let oldest = running.first else { return text }
    text += " \(oldest.description)"
    if now - oldest.start >= .seconds(1) { text += " (\(ProgressLine.short(now - oldest.start)))" }
    if running.count > 1 { text += " and \(running.count - 1) more" }
    // One command's own words, the oldest's; else the pictures of all.
    if let words = running.map(\.detail).first(where: { !$0.isEmpty }) {
      return text + ": " + words
    }
    let counted = running.filter { $0.total > 0 }
    let rate = counted.compactMap { $0.rate(now) }.reduce(0, +)
    guard rate > 0 else { return text }
    let left = counted.reduce(0) { $0 + $1.total - $1.done }
    text += ": \(counted.reduce(0) { $0 + $1.done })/\(counted.reduce(0) { $0 + $1.total }) images"
    text += ", \(Int(rate.rounded())) images/s, \(Int((Double(left) / rate).rounded(.up))) s left"
    return text
  }

  /// `12 s`, `3 min`.
  private static func short(_ duration: Duration) -> String {
    let seconds = duration.components.seconds
    return seconds < 120 ? "\(seconds) s" : "\(seconds / 60) min"
  }
}
