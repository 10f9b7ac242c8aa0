// SPDX-License-Identifier: Apache-2.0
#ifndef CKERNELS_HISTOGRAM_H
#define CKERNELS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// What one pass over float32 values finds, from their bit patterns alone.
///
/// Keys order floats as integers: `bits` when the sign is clear, else `bits ^ 0x7FFFFFFF` as a
/// signed number, so that -0 is -1 and +0 is 0.
typedef struct {
  /// Values that are neither NaN nor infinite; the fields below speak of these only.
  size_t finite;
  /// Zeros of either sign.
  size_t zeros;
  /// The largest `bits & 0x7FFFFFFF`; 0 when nothing is finite.
  uint32_t max_magnitude;
  /// INT32_MAX and INT32_MIN when nothing is finite.
  int32_t min_key;
  int32_t max_key;
  size_t nans;
  size_t positive_infinities;
  size_t negative_infinities;
} ck_float_summary;

void ck_float_summarize(const float *values, size_t count, ck_float_summary *summary);

/// Adds values to a sign-magnitude histogram of 4096 bins a side with bin width 2^exponent.
///
/// `summary` is what `ck_float_summarize` said of the same values. Zeros and non-finite values are
/// left out. `positive` (`negative`) may be NULL when no value is above (below) zero.
/// Precondition: exponent >= max(E - 138, -137), E the exponent field of `max_magnitude`.
void ck_histogram_add(const float *values, size_t count, const ck_float_summary *summary,
                      int32_t exponent, uint64_t *_Nullable positive,
                      uint64_t *_Nullable negative);

#pragma clang assume_nonnull end
#endif
