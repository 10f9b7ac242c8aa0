// SPDX-License-Identifier: Apache-2.0
// BuildEngine: arrays that may lie in a mapped file.

internal import Glibc

/// Memory that columns and their slices share: their own, or a part of a mapped file.
final class ColumnStorage {
  let base: UnsafeMutableRawPointer
  private let map: FileMap?

  fileprivate init(bytes: Int) {
    base = .allocate(byteCount: max(1, bytes), alignment: 16)
    map = nil
  }

  /// Zeros. Where nobody writes, a large one takes neither memory nor time.
  fileprivate init(zeros bytes: Int) {
    guard let memory = calloc(max(1, bytes), 1) else { preconditionFailure("out of memory") }
    base = memory
    map = nil
  }

  /// A part of a private map: what is written to it stays in this process.
  fileprivate init(_ base: UnsafeMutableRawPointer, in map: FileMap) {
    self.base = base
    self.map = map
  }

  deinit { if map == nil { base.deallocate() } }
}

/// An array of plain values, one after the other as in a snapshot, which can be read from there
/// without a copy. Grows like an array; behind the values of a snapshot there is some room.
struct Column<Element: BitwiseCopyable>: ~Copyable {
  private var storage: ColumnStorage
  private var base: UnsafeMutablePointer<Element>
  private(set) var count = 0
  private var capacity: Int

  init(capacity: Int = 0) {
    storage = ColumnStorage(bytes: capacity * MemoryLayout<Element>.stride)
    base = storage.base.assumingMemoryBound(to: Element.self)
    self.capacity = capacity
  }

  init(repeating value: Element, count: Int) {
    self.init(capacity: count)
    append(repeating: value, count: count)
  }

  /// A column of values whose bytes are all zero.
  init(zeros count: Int) {
    storage = ColumnStorage(zeros: count * MemoryLayout<Element>.stride)
    base = storage.base.assumingMemoryBound(to: Element.self)
    self.count = count
    capacity = count
  }

  /// A column that lies in a file.
  init(_ map: FileMap, _ place: UnsafeMutableRawPointer, count: Int, capacity: Int) {
    storage = ColumnStorage(place, in: map)
    base = place.assumingMemoryBound(to: Element.self)
    self.count = count
    self.capacity = capacity
  }

  subscript(index: Int) -> Element {
    @inline(__always) get {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "beyond the column")
      return base[index]
    }
    @inline(__always) set {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "beyond the column")
      base[index] = newValue
    }
  }

  subscript(range: Range<Int>) -> ColumnSlice<Element> {
    @inline(__always) get {
      precondition(range.lowerBound >= 0 && range.upperBound <= count, "beyond the column")
      return ColumnSlice(
        storage, UnsafeBufferPointer(start: base + range.lowerBound, count: range.count))
    }
  }

  /// The values as bytes, and what owns them.
  var memory: (owner: AnyObject, bytes: UnsafeRawBufferPointer) {
    (storage, UnsafeRawBufferPointer(start: base, count: count * MemoryLayout<Element>.stride))
  }

  /// The first value, for as long as the column lives and does not grow.
  var pointer: UnsafeMutablePointer<Element> { base }

  /// Lends the values.
  @inline(__always)
  func withBuffer<Result, Failure>(
    _ range: Range<Int>,
    _ body: (UnsafeBufferPointer<Element>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "beyond the column")
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeBufferPointer(start: base + range.lowerBound, count: range.count))
  }

  @inline(__always)
  mutating func append(_ element: Element) {
    if count == capacity { reserve(count + 1) }
    base[count] = element
    count += 1
  }

  mutating func append(repeating element: Element, count more: Int) {
    guard more > 0 else { return }
    reserve(count + more)
    (base + count).initialize(repeating: element, count: more)
    count += more
  }

  mutating func append(contentsOf elements: UnsafeBufferPointer<Element>) {
    guard let source = elements.baseAddress, !elements.isEmpty else { return }
    reserve(count + elements.count)
    (base + count).initialize(from: source, count: elements.count)
    count += elements.count
  }

  mutating func append(contentsOf elements: some Collection<Element>) {
    let isDone: Void? = elements.withContiguousStorageIfAvailable { append(contentsOf: $0) }
    if isDone == nil { for element in elements { append(element) } }
  }

  /// Makes the column at least this long.
  mutating func extend(to length: Int, with element: Element) {
    append(repeating: element, count: length - count)
  }

  /// The same with zeros, and without touching them.
  mutating func extendWithZeros(to length: Int) {
    guard length > count else { return }
    var larger = Column(zeros: length)
    larger.base.update(from: base, count: count)
    swap(&self, &larger)
  }

  private mutating func reserve(_ wanted: Int) {
    guard wanted > capacity else { return }
    capacity = max(wanted, capacity + capacity / 2, 16)
    // Slices of the old memory keep it.
    let larger = ColumnStorage(bytes: capacity * MemoryLayout<Element>.stride)
    let place = larger.base.assumingMemoryBound(to: Element.self)
    place.initialize(from: base, count: count)
    storage = larger
    base = place
  }
}

/// Some neighbouring values of a column. Keeps their memory.
struct ColumnSlice<Element: BitwiseCopyable>: RandomAccessCollection {
  private let storage: ColumnStorage?
  private let values: UnsafeBufferPointer<Element>

  /// Nothing.
  init() {
    storage = nil
    values = UnsafeBufferPointer(start: nil, count: 0)
  }

  @inline(__always)
  fileprivate init(_ storage: ColumnStorage, _ values: UnsafeBufferPointer<Element>) {
    self.storage = storage
    self.values = values
  }

  var startIndex: Int { 0 }
  var endIndex: Int { values.count }

  subscript(index: Int) -> Element {
    @inline(__always) get {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: values.count), "beyond the slice")
      return values[index]
    }
  }

  func withContiguousStorageIfAvailable<Result>(
    _ body: (UnsafeBufferPointer<Element>) throws -> Result
  ) rethrows -> Result? {
    defer { withExtendedLifetime(storage) {} }
    return try body(values)
  }
}
