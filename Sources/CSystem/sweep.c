// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "CSystemEngine.h"

enum { identity_size = 48, compared_size = 44, most_threads = 8 };

typedef struct {
  int directory;
  const char *names;
  size_t size;
  const uint32_t *offsets;
  const unsigned char *expected;
  size_t from, to;
  unsigned char *differs;
  bool broken;
} slice;

/// One directory held open: half of the cost of a look is the walk to it. To open it costs more than
/// a look, and is only worth while for two files and more.
typedef struct {
  const char *path;
  size_t length;
  int descriptor;
} folder;

static void enter(folder *f, const slice *s, const char *name, size_t length) {
  if (f->descriptor >= 0) close(f->descriptor);
  f->path = name;
  f->length = length;
  f->descriptor = -1;
  char path[4096];
  if (length >= sizeof path) return;
  memcpy(path, name, length);
  path[length] = 0;
  f->descriptor = openat(s->directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/// Whether a file lies in the same directory as the one before it, whose name up to the slash is given.
static bool shares(const slice *s, size_t file, const char *name, size_t length) {
  if (file >= s->to || s->offsets[file] >= s->size) return false;
  const char *other = s->names + s->offsets[file];
  size_t left = s->size - s->offsets[file];
  if (left <= length + 1 || memcmp(other, name, length + 1) != 0) return false;
  // Names end within `size`, which the loop has yet to see of this one.
  return memchr(other + length + 1, '/', strnlen(other, left) - length - 1) == NULL;
}

/// Whether a look tells what the bytes of a `cs_identity` say.
static inline bool equals(const struct stat *now, const unsigned char *expected) {
  cs_identity then;
  memcpy(&then, expected, compared_size);
  return then.inode == (uint64_t)now->st_ino && then.size == (uint64_t)now->st_size &&
         then.changed == (int64_t)now->st_ctim.tv_sec * 1000000000 + now->st_ctim.tv_nsec &&
         then.modified == (int64_t)now->st_mtim.tv_sec * 1000000000 + now->st_mtim.tv_nsec &&
         then.device == (uint64_t)now->st_dev && then.mode == now->st_mode;
}

static void *run(void *argument) {
  slice *s = argument;
  folder f = {.descriptor = -1};
  for (size_t i = s->from; i < s->to; i++) {
    size_t start = s->offsets[i], end = s->offsets[i + 1];
    if (start >= end || end > s->size || s->names[end - 1] != 0) {
      s->broken = true;
      break;
    }
    const char *name = s->names + start;
    const char *slash = memrchr(name, '/', end - start);
    // "/file" has no directory of its own, "file" neither.
    size_t length = slash == NULL ? 0 : (size_t)(slash - name);
    bool is_in = f.path != NULL && f.length == length && memcmp(f.path, name, length) == 0;
    if (!is_in && length > 0 && shares(s, i + 1, name, length)) {
      enter(&f, s, name, length);
      is_in = true;
    }
    struct stat now;
    int failure = is_in && f.descriptor >= 0 ? fstatat(f.descriptor, slash + 1, &now, 0)
                                             : fstatat(s->directory, name, &now, 0);
    const unsigned char *expected = s->expected + i * identity_size;
    bool is_same;
    if (failure == 0) {
      is_same = equals(&now, expected);
    } else {
      // Nothing was there, and nothing is.
      static const unsigned char nothing[compared_size];
      is_same = (errno == ENOENT || errno == ENOTDIR) &&
                memcmp(nothing, expected, compared_size) == 0;
    }
    if (!is_same) s->differs[i] = 1;
  }
  if (f.descriptor >= 0) close(f.descriptor);
  return NULL;
}

/// The same in a thread that has its own table of descriptors: while threads share one, the kernel
/// counts references with every look. Where that is not allowed, it is only slower.
static void *run_apart(void *argument) {
  (void)unshare(CLONE_FILES);
  return run(argument);
}

int cs_sweep(int directory, const char *names, size_t size, const uint32_t *offsets,
             const void *expected, size_t count, int threads, unsigned char *differs) {
  if (threads < 1) threads = 1;
  if (threads > most_threads) threads = most_threads;
  slice slices[most_threads];
  pthread_t others[most_threads];
  bool started[most_threads] = {false};
  for (int t = 0; t < threads; t++)
    slices[t] = (slice){directory, names, size, offsets, expected, count * t / threads,
                        count * (t + 1) / threads, differs, false};
  for (int t = 1; t < threads; t++)
    started[t] = pthread_create(&others[t], NULL, run_apart, &slices[t]) == 0;
  run(&slices[0]);
  bool broken = slices[0].broken;
  for (int t = 1; t < threads; t++) {
    if (started[t])
      pthread_join(others[t], NULL);
    else
      run(&slices[t]);
    broken = broken || slices[t].broken;
  }
  return broken ? EINVAL : 0;
}
