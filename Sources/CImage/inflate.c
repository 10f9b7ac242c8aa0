// SPDX-License-Identifier: Apache-2.0
// Deflate streams through zlib.
#include "CImage.h"

#include <string.h>

#include <zlib.h>

/// zlib counts in 32 bits; larger buffers are handed over in pieces.
static uInt piece(size_t left) { return left > (1u << 30) ? (1u << 30) : (uInt)left; }

int ci_inflate(
  const uint8_t *bytes, size_t count, int kind, uint8_t *output, size_t capacity,
  size_t *written) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  *written = 0;
  if (inflateInit2(&stream, kind == CI_GZIP ? 15 + 16 : -15) != Z_OK) return -1;
  size_t used = 0;
  int result;
  for (;;) {
    const uInt in = piece(count - used);
    const uInt out = piece(capacity - *written);
    stream.next_in = (Bytef *)(bytes + used);
    stream.avail_in = in;
    stream.next_out = output + *written;
    stream.avail_out = out;
    const int code = inflate(&stream, Z_NO_FLUSH);
    used += in - stream.avail_in;
    *written += out - stream.avail_out;
    if (code == Z_STREAM_END) {
      result = 0;
      break;
    }
    if (*written == capacity && (code == Z_OK || code == Z_BUF_ERROR)) {
      result = 1;
      break;
    }
    if (code != Z_OK) {  // Z_BUF_ERROR here: the input is used up
      result = -1;
      break;
    }
  }
  inflateEnd(&stream);
  return result;
}

uint32_t ci_crc32(const uint8_t *bytes, size_t count) {
  uLong sum = crc32(0, NULL, 0);
  while (count > 0) {
    const uInt part = piece(count);
    sum = crc32(sum, bytes, part);
    bytes += part;
    count -= part;
  }
  return (uint32_t)sum;
}
