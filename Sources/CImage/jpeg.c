// SPDX-License-Identifier: Apache-2.0
// JPEG through libjpeg-turbo. The whole decode is one C function: libjpeg leaves by longjmp, which
// must not unwind Swift frames.
#include "CImage.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/// A progressive file may repeat scans without end; honest encoders write about ten.
#define MAX_SCANS 500

typedef struct {
  struct jpeg_error_mgr base;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char *message;
} decode_state;

static void leave(j_common_ptr common) {
  decode_state *state = (decode_state *)common->err;
  char text[JMSG_LENGTH_MAX];
  common->err->format_message(common, text);
  snprintf(state->message, CI_MESSAGE_SIZE, "%s", text);
  longjmp(state->escape, 1);
}

static void refuse(decode_state *state, const char *message) {
  snprintf(state->message, CI_MESSAGE_SIZE, "%s", message);
  longjmp(state->escape, 1);
}

/// libjpeg carries on after a warning and fills with grey what it could not read. Warnings that
/// mean lost picture data end the decode; those about odd but harmless markers do not.
static void warn(j_common_ptr common, int level) {
  if (level >= 0) return;
  switch (common->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      leave(common);
  }
}

static void count_scans(j_common_ptr common) {
  if (common->is_decompressor && ((j_decompress_ptr)common)->input_scan_number > MAX_SCANS) {
    refuse((decode_state *)common->err, "more than 500 scans");
  }
}

static void say_nothing(j_common_ptr common) { (void)common; }

int ci_decode_jpeg(const uint8_t *bytes, size_t count, size_t max_pixels, ci_picture *picture) {
  struct jpeg_decompress_struct info;
  decode_state state;
  memset(picture, 0, sizeof *picture);
  memset(&info, 0, sizeof info);
  memset(&state, 0, sizeof state);
  info.err = jpeg_std_error(&state.base);
  state.base.error_exit = leave;
  state.base.emit_message = warn;
  state.base.output_message = say_nothing;
  state.message = picture->message;
  if (setjmp(state.escape)) {
    jpeg_destroy_decompress(&info);
    free(picture->pixels);
    picture->pixels = NULL;
    return -1;
  }
  jpeg_create_decompress(&info);
  state.progress.progress_monitor = count_scans;
  info.progress = &state.progress;
  jpeg_mem_src(&info, bytes, count);
  jpeg_read_header(&info, TRUE);

  switch (info.jpeg_color_space) {
    case JCS_GRAYSCALE: info.out_color_space = JCS_GRAYSCALE; break;
    case JCS_RGB:
    case JCS_YCbCr: info.out_color_space = JCS_RGB; break;
    case JCS_CMYK: refuse(&state, "its colors are CMYK"); break;
    case JCS_YCCK: refuse(&state, "its colors are YCCK (CMYK)"); break;
    default: refuse(&state, "its color space is unknown"); break;
  }
  if ((size_t)info.image_width * info.image_height > max_pixels) {
    snprintf(
      state.message, CI_MESSAGE_SIZE, "%ux%u pixels are more than the limit of %zu",
      info.image_width, info.image_height, max_pixels);
    longjmp(state.escape, 1);
  }
  // The accurate integer transform is libjpeg's default and what Pillow uses; said here because
  // the pixels depend on it.
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  jpeg_start_decompress(&info);

  picture->width = info.output_width;
  picture->height = info.output_height;
  picture->channels = (size_t)info.output_components;
  const size_t row_bytes = picture->width * picture->channels;
  picture->pixels = malloc(row_bytes * picture->height);
  if (!picture->pixels) refuse(&state, "not enough memory for its pixels");
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = picture->pixels + row_bytes * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_destroy_decompress(&info);
  return 0;
}

void ci_free(void *memory) { free(memory); }
