// SPDX-License-Identifier: Apache-2.0
// BuildEngine: amounts of memory and disk as people write them.

/// Reads `512M`, `2G`, `1.5 GiB`, `4096`.
public enum MemorySize {
  /// The number of bytes (K, M, G and T are powers of 1024); nil when the text is none.
  public static func bytes(_ text: String) -> Int64? {
    var digits = Substring(text.uppercased())
    while digits.last == " " { digits.removeLast() }
    for suffix in ["IB", "B"] where digits.hasSuffix(suffix) {
      digits.removeLast(suffix.count)
      break
    }
    var factor = 1.0
    if let last = digits.last, let power = Array("KMGT").firstIndex(of: last) {
      for _ in 0...power { factor *= 1024 }
      digits.removeLast()
    }
    while digits.last == " " { digits.removeLast() }
    guard digits.first?.isNumber == true, let number = Double(digits), number >= 0,
      number * factor < 9e18
    else { return nil }
    return Int64(number * factor)
  }
}
