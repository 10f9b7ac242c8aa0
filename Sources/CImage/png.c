// SPDX-License-Identifier: Apache-2.0
// PNG through libpng; one C function a decode, for the same reason as in jpeg.c.
#include "CImage.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

/// Room for one ancillary chunk; a text or profile chunk that inflates beyond this is refused.
#define MAX_CHUNK_BYTES (8u << 20)

typedef struct {
  const uint8_t *bytes;
  size_t count;
  size_t offset;
} source;

static void leave(png_structp png, png_const_charp text) {
  snprintf((char *)png_get_error_ptr(png), CI_MESSAGE_SIZE, "%s", text);
  png_longjmp(png, 1);
}

/// Warnings concern color profiles and text chunks, which are not used.
static void ignore(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void take(png_structp png, png_bytep target, size_t count) {
  source *from = png_get_io_ptr(png);
  if (count > from->count - from->offset) png_error(png, "the file ends too early");
  memcpy(target, from->bytes + from->offset, count);
  from->offset += count;
}

int ci_decode_png(const uint8_t *bytes, size_t count, size_t max_pixels, ci_picture *picture) {
  memset(picture, 0, sizeof *picture);
  source from = {bytes, count, 0};
  png_structp png =
    png_create_read_struct(PNG_LIBPNG_VER_STRING, picture->message, leave, ignore);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    snprintf(picture->message, CI_MESSAGE_SIZE, "libpng cannot start");
    return -1;
  }
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    free(picture->pixels);
    picture->pixels = NULL;
    return -1;
  }
  png_set_read_fn(png, &from, take);
  png_set_chunk_malloc_max(png, MAX_CHUNK_BYTES);
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  png_read_info(png, info);

  const size_t width = png_get_image_width(png, info);
  const size_t height = png_get_image_height(png, info);
  if (width > max_pixels / height) {
    snprintf(
      picture->message, CI_MESSAGE_SIZE, "%zux%zu pixels are more than the limit of %zu", width,
      height, max_pixels);
    png_longjmp(png, 1);
  }
  png_set_expand(png);    // palette to RGB, 1, 2, 4 bits to 8, tRNS to alpha
  png_set_strip_16(png);  // the upper byte, as Pillow reduces 16-bit RGB
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);

  picture->width = width;
  picture->height = height;
  picture->channels = png_get_channels(png, info);
  const size_t row_bytes = png_get_rowbytes(png, info);
  if (row_bytes != width * picture->channels) png_error(png, "unexpected row size");
  picture->pixels = calloc(height, row_bytes);
  if (!picture->pixels) png_error(png, "not enough memory for its pixels");
  for (int pass = 0; pass < passes; pass++) {
    for (size_t row = 0; row < height; row++) {
      png_read_row(png, picture->pixels + row * row_bytes, NULL);
    }
  }
  png_read_end(png, NULL);
  png_destroy_read_struct(&png, &info, NULL);
  return 0;
}
