// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a time to measure from.

internal import Glibc

/// A reading of the monotonic clock. (`ContinuousClock` has types whose size the runtime has to find
/// out first, in every build that runs something.)
struct Moment {
  private let nanoseconds: Int64

  static var now: Moment {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Moment(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  static func - (later: Moment, earlier: Moment) -> Duration {
    .nanoseconds(later.nanoseconds - earlier.nanoseconds)
  }
}
