// SPDX-License-Identifier: Apache-2.0
// CArchive: tar streams in zstd, through libarchive, which is loaded on first use.
//
// Linking libarchive would load fourteen more libraries at every start, also of a build that has
// nothing to do; so it is opened with dlopen, and its own header gives the types.
//
// Threads: ca_load may be called from any thread at any time. A writer or reader belongs to one
// thread at a time. Nothing here prints, and nothing here decides what is acceptable.
#ifndef CARCHIVE_H
#define CARCHIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// Loads libarchive.so.13. NULL when it is ready; else why not (static text, never freed).
const char *_Nullable ca_load(void);

/// Writes a tar stream (restricted pax: plain ustar wherever an entry fits) through zstd.
typedef struct ca_writer ca_writer;

/// Starts writing to `fd`, which stays the caller's. NULL only without memory; otherwise the
/// first failure is kept and every later call returns it. Requires ca_load to have succeeded.
ca_writer *_Nullable ca_writer_new(int fd, const char *level);
/// Starts a regular file of `size` bytes, owned by user and group 0. Returns 0, or -1.
/// `path` is UTF-8, `mtime` in whole seconds.
int ca_writer_entry(ca_writer *writer, const char *path, int64_t size, int64_t mtime, unsigned mode);
/// Adds content to the entry that was started last. Returns 0, or -1 when not all was taken.
int ca_writer_data(ca_writer *writer, const void *bytes, size_t count);
/// Ends the archive and flushes it to the descriptor. Returns 0, or -1.
int ca_writer_finish(ca_writer *writer);
/// What the last failure was; valid until the next call on this writer.
const char *ca_writer_error(ca_writer *writer);
void ca_writer_free(ca_writer *writer);

/// Reads a tar stream out of a zstd stream. No other format and no other filter is enabled.
typedef struct ca_reader ca_reader;

enum ca_kind {
  ca_regular = 0,
  ca_directory = 1,
  ca_symbolic_link = 2,
  ca_hard_link = 3,
  ca_other = 4,
};

/// One entry as the archive has it, unchecked.
typedef struct {
  /// The name, usually UTF-8; NULL when it could not be read. Valid until the next entry.
  const char *_Nullable path;
  /// Bytes of content; -1 when the archive does not say.
  int64_t size;
  /// Permission bits with set-id and sticky.
  unsigned mode;
  enum ca_kind kind;
} ca_entry;

/// Starts reading from `fd`, which stays the caller's. NULL only without memory; a failure shows
/// in the first ca_reader_next. Requires ca_load to have succeeded.
ca_reader *_Nullable ca_reader_new(int fd);
/// The next entry: 1 and `entry` filled, 0 at the end of the tar stream, -1 on failure.
int ca_reader_next(ca_reader *reader, ca_entry *entry);
/// Content of the current entry: bytes read, 0 at its end, -1 on failure.
ssize_t ca_reader_data(ca_reader *reader, void *buffer, size_t count);
/// After the end of the tar stream: reads what the zstd stream still holds, at most `limit` bytes.
/// 0 when that is nothing but zeros and the stream is whole, 1 when there is more, -1 on failure.
int ca_reader_rest(ca_reader *reader, size_t limit);
/// What the last failure was; valid until the next call on this reader.
const char *ca_reader_error(ca_reader *reader);
void ca_reader_free(ca_reader *reader);

#pragma clang assume_nonnull end

#endif
