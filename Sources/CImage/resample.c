// SPDX-License-Identifier: Apache-2.0
// The inner loops of resizing and normalising, which take most of the time of a debug build.
#include "CImage.h"

#include <string.h>

#define PRECISION 22
#define HALF (1 << (PRECISION - 1))

static inline uint8_t clamp(int32_t sum) {
  const int32_t value = sum >> PRECISION;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void ci_resample_columns(
  const uint8_t *input, size_t in_width, size_t rows, size_t channels, const int32_t *bounds,
  const int32_t *weights, size_t stride, size_t out_width, uint8_t *output) {
  for (size_t y = 0; y < rows; y++) {
    const uint8_t *row = input + y * in_width * channels;
    for (size_t x = 0; x < out_width; x++) {
      const uint8_t *from = row + (size_t)bounds[2 * x] * channels;
      const int32_t taps = bounds[2 * x + 1];
      const int32_t *weight = weights + x * stride;
      if (channels == 3) {
        int32_t red = HALF, green = HALF, blue = HALF;
        for (int32_t i = 0; i < taps; i++) {
          const int32_t w = weight[i];
          red += from[3 * i] * w;
          green += from[3 * i + 1] * w;
          blue += from[3 * i + 2] * w;
        }
        *output++ = clamp(red);
        *output++ = clamp(green);
        *output++ = clamp(blue);
      } else {
        int32_t sum = HALF;
        for (int32_t i = 0; i < taps; i++) sum += from[i] * weight[i];
        *output++ = clamp(sum);
      }
    }
  }
}

void ci_resample_rows(
  const uint8_t *input, size_t row_bytes, const int32_t *bounds, const int32_t *weights,
  size_t stride, size_t out_height, int32_t *sums, uint8_t *output) {
  for (size_t y = 0; y < out_height; y++) {
    const uint8_t *from = input + (size_t)bounds[2 * y] * row_bytes;
    const int32_t taps = bounds[2 * y + 1];
    for (size_t x = 0; x < row_bytes; x++) sums[x] = HALF;
    for (int32_t i = 0; i < taps; i++, from += row_bytes) {
      const int32_t w = weights[y * stride + (size_t)i];
      for (size_t x = 0; x < row_bytes; x++) sums[x] += from[x] * w;
    }
    for (size_t x = 0; x < row_bytes; x++) output[x] = clamp(sums[x]);
    output += row_bytes;
  }
}

void ci_lookup_planes(
  const uint8_t *input, size_t pixels, size_t channels, const float *tables, size_t planes,
  float *output) {
  for (size_t plane = 0; plane < planes; plane++) {
    const float *table = tables + 256 * plane;
    const uint8_t *from = input + (channels == 1 ? 0 : plane);
    for (size_t i = 0; i < pixels; i++) *output++ = table[from[i * channels]];
  }
}

void ci_lookup_interleaved(
  const uint8_t *input, size_t pixels, size_t channels, const float *tables, size_t planes,
  float *output) {
  for (size_t i = 0; i < pixels; i++, input += channels) {
    for (size_t plane = 0; plane < planes; plane++) {
      *output++ = tables[256 * plane + input[channels == 1 ? 0 : plane]];
    }
  }
}
