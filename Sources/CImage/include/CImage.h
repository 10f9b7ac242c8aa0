// SPDX-License-Identifier: Apache-2.0
// CImage: decodes JPEG, PNG and deflate streams and resamples 8-bit rows. No policy, no printing.
#ifndef CIMAGE_H
#define CIMAGE_H

#include <stddef.h>
#include <stdint.h>

/// Room for a message of libjpeg (JMSG_LENGTH_MAX is 200) and its terminating zero.
#define CI_MESSAGE_SIZE 256

/// A decoded picture: rows from the top, `channels` bytes a pixel, no padding.
/// Channels: 1 grey, 2 grey and alpha, 3 red green blue, 4 red green blue alpha.
typedef struct {
  uint8_t *pixels;  ///< owned by the caller after success: free with ci_free
  size_t width;
  size_t height;
  size_t channels;
  char message[CI_MESSAGE_SIZE];  ///< after failure: why
} ci_picture;

/// Decodes a JPEG file in memory. Returns 0, or -1 with `message` set and nothing to free.
/// A picture of more than `max_pixels` is refused before anything is allocated for it.
int ci_decode_jpeg(const uint8_t *bytes, size_t count, size_t max_pixels, ci_picture *picture);

/// Decodes a PNG file in memory; same contract. Palettes are expanded, 16 bits cut to the upper 8.
int ci_decode_png(const uint8_t *bytes, size_t count, size_t max_pixels, ci_picture *picture);

void ci_free(void *memory);

/// Kinds of deflate stream.
enum { CI_RAW_DEFLATE = 0, CI_GZIP = 1 };

/// Inflates into `output` until the stream ends or `capacity` bytes are written.
/// Returns 0 when the stream ended, 1 when the output is full first, -1 when the data are corrupt
/// or end too early. `written` is set in every case.
int ci_inflate(
  const uint8_t *bytes, size_t count, int kind, uint8_t *output, size_t capacity, size_t *written);

/// CRC-32 of zip and gzip.
uint32_t ci_crc32(const uint8_t *bytes, size_t count);

/// One pass of a separable resampling along rows. `bounds` holds, for each of `out_width` columns,
/// the first input column and the number of inputs; `weights` holds `stride` weights a column, in
/// units of 2^-22. All input columns named must exist.
void ci_resample_columns(
  const uint8_t *input, size_t in_width, size_t rows, size_t channels, const int32_t *bounds,
  const int32_t *weights, size_t stride, size_t out_width, uint8_t *output);

/// The same along columns: `row_bytes` is width times channels of input and output alike.
/// `sums` is scratch of `row_bytes` elements.
void ci_resample_rows(
  const uint8_t *input, size_t row_bytes, const int32_t *bounds, const int32_t *weights,
  size_t stride, size_t out_height, int32_t *sums, uint8_t *output);

/// Looks bytes up in one 256-entry table a channel: interleaved bytes to planes.
/// `tables` holds `planes` tables; an input of one channel serves every plane.
void ci_lookup_planes(
  const uint8_t *input, size_t pixels, size_t channels, const float *tables, size_t planes,
  float *output);

/// The same, to interleaved floats.
void ci_lookup_interleaved(
  const uint8_t *input, size_t pixels, size_t channels, const float *tables, size_t planes,
  float *output);

#endif
