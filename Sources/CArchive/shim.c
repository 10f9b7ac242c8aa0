// SPDX-License-Identifier: Apache-2.0
// CArchive: the functions of libarchive that are used, and two small handles over them.
#define _GNU_SOURCE
#include "CArchive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CA_FUNCTIONS(use)                \
  use(archive_error_string)              \
  use(archive_read_new)                  \
  use(archive_read_free)                 \
  use(archive_read_support_filter_zstd)  \
  use(archive_read_support_format_raw)   \
  use(archive_read_support_format_tar)   \
  use(archive_read_open_fd)              \
  use(archive_read_open)                 \
  use(archive_read_next_header)          \
  use(archive_read_data)                 \
  use(archive_entry_new)                 \
  use(archive_entry_free)                \
  use(archive_entry_pathname)            \
  use(archive_entry_size)                \
  use(archive_entry_size_is_set)         \
  use(archive_entry_mode)                \
  use(archive_entry_hardlink)            \
  use(archive_entry_set_pathname)        \
  use(archive_entry_set_size)            \
  use(archive_entry_set_mode)            \
  use(archive_entry_set_mtime)           \
  use(archive_set_error)                 \
  use(archive_filter_bytes)              \
  use(archive_filter_code)               \
  use(archive_write_new)                 \
  use(archive_write_free)                \
  use(archive_write_add_filter_zstd)     \
  use(archive_write_set_format_pax_restricted) \
  use(archive_write_set_filter_option)   \
  use(archive_write_set_bytes_in_last_block) \
  use(archive_write_open_fd)             \
  use(archive_write_header)              \
  use(archive_write_data)                \
  use(archive_write_close)

#define CA_DECLARE(name) static __typeof__(&name) p_##name;
CA_FUNCTIONS(CA_DECLARE)

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static char load_error[256];
// Names are UTF-8 whatever locale the process runs in; libarchive asks the thread's locale.
static locale_t utf8;

static void load(void) {
  void *library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    strncpy(load_error, why ? why : "dlopen failed", sizeof load_error - 1);
    return;
  }
#define CA_RESOLVE(name)                                         \
  p_##name = (__typeof__(&name))dlsym(library, #name);           \
  if (!p_##name && !load_error[0])                               \
    strncpy(load_error, "libarchive.so.13 lacks " #name, sizeof load_error - 1);
  CA_FUNCTIONS(CA_RESOLVE)
  utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  if (!utf8 && !load_error[0])
    strncpy(load_error, "the locale C.UTF-8 is missing", sizeof load_error - 1);
}

const char *ca_load(void) {
  pthread_once(&load_once, load);
  return load_error[0] ? load_error : NULL;
}

static const char *text(struct archive *archive) {
  const char *message = archive ? p_archive_error_string(archive) : NULL;
  return message ? message : "unknown failure";
}

// Writing.

struct ca_writer {
  struct archive *archive;
  int failed;
};

ca_writer *ca_writer_new(int fd, const char *level) {
  ca_writer *writer = calloc(1, sizeof *writer);
  if (!writer) return NULL;
  locale_t before = uselocale(utf8);
  struct archive *a = writer->archive = p_archive_write_new();
  // The number of workers is stated: 0 and 1 give different bytes, 1 and more the same.
  writer->failed =
      !a || p_archive_write_add_filter_zstd(a) != ARCHIVE_OK ||
      p_archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
      p_archive_write_set_filter_option(a, "zstd", "compression-level", level) != ARCHIVE_OK ||
      p_archive_write_set_filter_option(a, "zstd", "threads", "1") != ARCHIVE_OK ||
      p_archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
      p_archive_write_open_fd(a, fd) != ARCHIVE_OK;
  uselocale(before);
  return writer;
}

int ca_writer_entry(
    ca_writer *writer, const char *path, int64_t size, int64_t mtime, unsigned mode) {
  if (writer->failed) return -1;
  locale_t before = uselocale(utf8);
  struct archive_entry *entry = p_archive_entry_new();
  int status = ARCHIVE_FATAL;
  if (entry) {
    p_archive_entry_set_pathname(entry, path);
    p_archive_entry_set_size(entry, size);
    p_archive_entry_set_mode(entry, AE_IFREG | mode);
    p_archive_entry_set_mtime(entry, mtime, 0);
    status = p_archive_write_header(writer->archive, entry);
    p_archive_entry_free(entry);
  }
  uselocale(before);
  return status == ARCHIVE_OK ? 0 : -1;
}

int ca_writer_data(ca_writer *writer, const void *bytes, size_t count) {
  if (writer->failed) return -1;
  return p_archive_write_data(writer->archive, bytes, count) == (la_ssize_t)count ? 0 : -1;
}

int ca_writer_finish(ca_writer *writer) {
  if (writer->failed) return -1;
  return p_archive_write_close(writer->archive) == ARCHIVE_OK ? 0 : -1;
}

const char *ca_writer_error(ca_writer *writer) { return text(writer->archive); }

void ca_writer_free(ca_writer *writer) {
  if (writer->archive) p_archive_write_free(writer->archive);
  free(writer);
}

// Reading: one archive undoes zstd and hands its bytes to a second one that knows only tar. So
// what follows the end of the tar stream can be seen, and a cut in the zstd stream as well.

struct ca_reader {
  struct archive *stream;
  struct archive *tar;
  int opened;
  int stream_failed;
  int64_t handed_over;  // bytes given to `tar` so far
  la_ssize_t last;      // of these, the bytes in `buffer`
  unsigned char buffer[1 << 17];
};

static la_ssize_t from_stream(struct archive *tar, void *data, const void **bytes) {
  ca_reader *reader = data;
  *bytes = reader->buffer;
  la_ssize_t count = p_archive_read_data(reader->stream, reader->buffer, sizeof reader->buffer);
  if (count >= 0) {
    reader->handed_over += count;
    reader->last = count;
    return count;
  }
  reader->stream_failed = 1;
  p_archive_set_error(tar, -1, "%s", text(reader->stream));
  return -1;
}

// Without this a stream that is not compressed at all would pass the filter untouched.
static int is_zstd(struct archive *stream) {
  if (p_archive_filter_code(stream, 0) == ARCHIVE_FILTER_ZSTD) return 1;
  p_archive_set_error(stream, -1, "it is not compressed with zstd");
  return 0;
}

ca_reader *ca_reader_new(int fd) {
  ca_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return NULL;
  locale_t before = uselocale(utf8);
  struct archive *stream = reader->stream = p_archive_read_new();
  struct archive *tar = reader->tar = p_archive_read_new();
  struct archive_entry *whole;
  if (stream && tar) {
    reader->stream_failed = 1;
    if (p_archive_read_support_filter_zstd(stream) == ARCHIVE_OK &&
        p_archive_read_support_format_raw(stream) == ARCHIVE_OK &&
        p_archive_read_open_fd(stream, fd, 1 << 17) == ARCHIVE_OK &&
        p_archive_read_next_header(stream, &whole) == ARCHIVE_OK &&
        is_zstd(stream)) {
      reader->stream_failed = 0;
      reader->opened = p_archive_read_support_format_tar(tar) == ARCHIVE_OK &&
                       p_archive_read_open(tar, reader, NULL, from_stream, NULL) == ARCHIVE_OK;
    }
  }
  uselocale(before);
  return reader;
}

int ca_reader_next(ca_reader *reader, ca_entry *out) {
  if (!reader->opened) return -1;
  locale_t before = uselocale(utf8);
  struct archive_entry *entry;
  int status = p_archive_read_next_header(reader->tar, &entry);
  int result = status == ARCHIVE_EOF ? 0 : status == ARCHIVE_OK ? 1 : -1;
  if (result == 1) {
    mode_t mode = p_archive_entry_mode(entry);
    out->path = p_archive_entry_pathname(entry);
    out->size = p_archive_entry_size_is_set(entry) ? p_archive_entry_size(entry) : -1;
    out->mode = mode & 07777;
    out->kind = p_archive_entry_hardlink(entry)      ? ca_hard_link
                : (mode & AE_IFMT) == AE_IFREG       ? ca_regular
                : (mode & AE_IFMT) == AE_IFDIR       ? ca_directory
                : (mode & AE_IFMT) == AE_IFLNK       ? ca_symbolic_link
                                                     : ca_other;
  }
  uselocale(before);
  return result;
}

ssize_t ca_reader_data(ca_reader *reader, void *buffer, size_t count) {
  la_ssize_t got = p_archive_read_data(reader->tar, buffer, count);
  return got >= 0 ? got : -1;
}

static int all_zero(const unsigned char *bytes, la_ssize_t count) {
  for (la_ssize_t i = 0; i < count; i++)
    if (bytes[i]) return 0;
  return 1;
}

int ca_reader_rest(ca_reader *reader, size_t limit) {
  // First what `tar` was given and did not use, then what it never saw.
  int64_t unused = reader->handed_over - p_archive_filter_bytes(reader->tar, 0);
  if (unused > reader->last) unused = reader->last;
  if (unused > 0 && !all_zero(reader->buffer + reader->last - unused, unused)) return 1;
  size_t total = 0;
  for (;;) {
    la_ssize_t count =
        p_archive_read_data(reader->stream, reader->buffer, sizeof reader->buffer);
    if (count < 0) {
      reader->stream_failed = 1;
      return -1;
    }
    if (count == 0) return 0;
    total += (size_t)count;
    if (total > limit) return 1;
    if (!all_zero(reader->buffer, count)) return 1;
  }
}

const char *ca_reader_error(ca_reader *reader) {
  return text(reader->stream_failed ? reader->stream : reader->tar);
}

void ca_reader_free(ca_reader *reader) {
  if (reader->tar) p_archive_read_free(reader->tar);
  if (reader->stream) p_archive_read_free(reader->stream);
  free(reader);
}
