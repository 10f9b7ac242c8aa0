// SPDX-License-Identifier: Apache-2.0
// Power-of-two histogram of float32 values. Integer instructions only, so that no rounding or
// flush-to-zero mode of the caller can move a value into another bin.
#include "CKernelsHistogram.h"

#include <string.h>

#define BINS 4096u
#define MAGNITUDE 0x7FFFFFFFu
#define INFINITE 0x7F800000u

static inline uint32_t bits_at(const float *values, size_t index) {
  uint32_t bits;
  memcpy(&bits, values + index, sizeof bits);
  return bits;
}

static inline int32_t key_of(uint32_t bits) {
  int32_t value = (int32_t)bits;
  return value ^ ((value >> 31) & (int32_t)MAGNITUDE);
}

// Reached only when NaN or an infinity is there, which ends the stage: speed does not matter.
static void summarize_with_non_finite(const float *values, size_t count, ck_float_summary *s) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = bits_at(values, i), magnitude = bits & MAGNITUDE;
    if (magnitude >= INFINITE) {
      if (magnitude > INFINITE)
        s->nans++;
      else if (bits >> 31)
        s->negative_infinities++;
      else
        s->positive_infinities++;
      continue;
    }
    int32_t key = key_of(bits);
    s->finite++;
    s->zeros += magnitude == 0;
    if (magnitude > s->max_magnitude) s->max_magnitude = magnitude;
    if (key < s->min_key) s->min_key = key;
    if (key > s->max_key) s->max_key = key;
  }
}

void ck_float_summarize(const float *values, size_t count, ck_float_summary *summary) {
  ck_float_summary empty = {.min_key = INT32_MAX, .max_key = INT32_MIN};
  *summary = empty;
  size_t zeros = 0;
  int32_t min_key = INT32_MAX, max_key = INT32_MIN;
  for (size_t start = 0; start < count;) {
    // Short pieces keep the zero counter 32 bits wide, which the compiler can put in vectors.
    size_t end = count - start > 4096 ? start + 4096 : count;
    uint32_t piece_zeros = 0;
    for (size_t i = start; i < end; i++) {
      uint32_t bits = bits_at(values, i);
      int32_t key = key_of(bits);
      piece_zeros += (bits & MAGNITUDE) == 0;
      min_key = key < min_key ? key : min_key;
      max_key = key > max_key ? key : max_key;
    }
    zeros += piece_zeros;
    start = end;
  }
  if (count == 0) return;
  // The magnitude of a key: itself, or its complement when negative.
  uint32_t low = (uint32_t)(min_key < 0 ? ~min_key : min_key);
  uint32_t high = (uint32_t)(max_key < 0 ? ~max_key : max_key);
  if (low >= INFINITE || high >= INFINITE) {
    summarize_with_non_finite(values, count, summary);
    return;
  }
  summary->finite = count;
  summary->zeros = zeros;
  summary->max_magnitude = low > high ? low : high;
  summary->min_key = min_key;
  summary->max_key = max_key;
}

// Any value, any exponent.
static void add_plainly(const float *values, size_t count, int32_t exponent, uint64_t *positive,
                        uint64_t *negative) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = bits_at(values, i), magnitude = bits & MAGNITUDE;
    if (magnitude == 0 || magnitude >= INFINITE) continue;
    uint32_t field = magnitude >> 23;
    uint32_t significand = field ? (magnitude & 0x7FFFFFu) | 0x800000u : magnitude;
    int32_t shift = exponent - (field ? (int32_t)field - 150 : -149);
    uint32_t bin = shift < 32 ? significand >> shift : 0;
    (bits >> 31 ? negative : positive)[bin]++;
  }
}

// The slot of a finite value: bin, plus 4096 when negative; zeros go to `zero_slot`, a slot of
// their own for each unrolled step, because runs of zeros would wait for their own stores.
// Subnormal values land in bin 0, which is right from exponent -126 on.
static inline uint32_t slot_of(uint32_t bits, uint32_t base, uint32_t lowest, uint32_t zero_slot) {
  uint32_t magnitude = bits & MAGNITUDE, field = magnitude >> 23;
  uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
  uint32_t shift = base - (field > lowest ? field : lowest);
  uint32_t slot = (significand >> (shift & 31)) | (bits >> 31) << 12;
  return magnitude ? slot : zero_slot;
}

enum { SLOTS = 2 * BINS + 2 };

// Two count arrays take turns, so that equal neighbours do not wait for each other either.
static void add_quickly(const float *values, size_t count, int32_t exponent, uint64_t *positive,
                        uint64_t *negative) {
  uint32_t even[SLOTS] = {0}, odd[SLOTS] = {0};
  uint32_t base = (uint32_t)(exponent + 150), lowest = base > 31 ? base - 31 : 0;
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    even[slot_of(bits_at(values, i), base, lowest, 2 * BINS)]++;
    odd[slot_of(bits_at(values, i + 1), base, lowest, 2 * BINS)]++;
    even[slot_of(bits_at(values, i + 2), base, lowest, 2 * BINS + 1)]++;
    odd[slot_of(bits_at(values, i + 3), base, lowest, 2 * BINS + 1)]++;
  }
  for (; i < count; i++) even[slot_of(bits_at(values, i), base, lowest, 2 * BINS)]++;
  if (positive)
    for (size_t bin = 0; bin < BINS; bin++) positive[bin] += (uint64_t)even[bin] + odd[bin];
  if (negative)
    for (size_t bin = 0; bin < BINS; bin++)
      negative[bin] += (uint64_t)even[BINS + bin] + odd[BINS + bin];
}

void ck_histogram_add(const float *values, size_t count, const ck_float_summary *summary,
                      int32_t exponent, uint64_t *positive, uint64_t *negative) {
  // Below this many values, clearing and adding up the count arrays costs more than it saves.
  const size_t worthwhile = 4 * BINS;
  // Half of what a 32-bit count holds.
  const size_t longest = (size_t)1 << 31;
  if (count < worthwhile || summary->finite != count || exponent < -126) {
    add_plainly(values, count, exponent, positive, negative);
    return;
  }
  for (size_t start = 0; start < count;) {
    size_t length = count - start > longest ? longest : count - start;
    add_quickly(values + start, length, exponent, positive, negative);
    start += length;
  }
}
