// SPDX-License-Identifier: Apache-2.0
// CSystem for the build engine: identities, pipes, signals, processes, hashing. All thread-safe.
#ifndef CSYSTEM_ENGINE_H
#define CSYSTEM_ENGINE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// What tells one state of a file from another without reading it. Times in nanoseconds.
typedef struct {
  uint64_t device, inode, size;
  int64_t modified, changed;
  uint32_t mode;
} cs_identity;

/// fstatat, following links. Returns 0 or errno.
int cs_identify(int directory, const char *path, cs_identity *identity);
/// Looks at `count` files and compares each with the 48 bytes in `expected` that tell what it was:
/// a `cs_identity` whose last four bytes do not count, with inode 0 where nothing was there.
///
/// File i is named by `names` from `offsets[i]` on, NUL-terminated, relative to `directory`; files
/// of one directory that stand together are looked up in it. `differs[i]` becomes 1 for each file
/// that is not the same or cannot be looked at. `threads` share the work (at most 8). Returns 0, or
/// EINVAL when an offset does not lie within `size` bytes of names.
int cs_sweep(int directory, const char *names, size_t size, const uint32_t *offsets,
             const void *expected, size_t count, int threads, unsigned char *differs);
/// fstat. Returns 0 or errno.
int cs_identify_open(int descriptor, cs_identity *identity);

/// A pipe whose ends are close-on-exec and numbered 4 or higher, so that they never collide with
/// the descriptors that a child is given. Returns 0 or errno.
int cs_pipe(int ends[_Nonnull 2]);
/// A file in memory that holds these bytes, to be read as `/dev/fd/N` by a child that is given it
/// (see `cs_start_new`). Returns the descriptor, or -1 and errno.
int cs_script(const void *bytes, size_t count);
/// Blocks the signals in the calling thread and returns a descriptor that reports them (-1 and
/// errno on failure); `old` receives the mask to restore.
int cs_signals_open(const int *signals, int count, sigset_t *old);
/// Reads one signal number from such a descriptor, 0 when none is waiting.
int cs_signals_read(int descriptor);
/// A descriptor that becomes readable when the process ends, or -1 and errno.
int cs_pidfd_open(pid_t process);

/// Exit code of a wait status; 128 + n for a process that signal n ended.
int cs_exit_code(int status);
/// The signal that ended the process, or 0.
int cs_exit_signal(int status);

/// Copies all of one open file into another, as a clone where the file system can. Returns 0 or
/// errno.
int cs_copy(int from, int to);

/// XXH3, 64 bits: for tables and checksums, not for content.
uint64_t cs_hash(const void *_Nullable bytes, size_t count, uint64_t seed);
/// The same of two pieces, as if they stood together.
uint64_t cs_hash_both(const void *bytes, size_t count, const void *more, size_t more_count,
                      uint64_t seed);

/// CLOCK_REALTIME and CLOCK_MONOTONIC in nanoseconds.
int64_t cs_now(void);
int64_t cs_monotonic(void);

/// The process's environment.
char *_Nullable *_Nonnull cs_environment(void);

#pragma clang assume_nonnull end
#endif
