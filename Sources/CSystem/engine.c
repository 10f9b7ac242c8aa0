// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CSystemEngine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

extern char **environ;

static void fill(cs_identity *identity, const struct stat *s) {
  identity->device = (uint64_t)s->st_dev;
  identity->inode = (uint64_t)s->st_ino;
  identity->size = (uint64_t)s->st_size;
  identity->modified = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
  identity->changed = (int64_t)s->st_ctim.tv_sec * 1000000000 + s->st_ctim.tv_nsec;
  identity->mode = s->st_mode;
}

int cs_identify(int directory, const char *path, cs_identity *identity) {
  struct stat s;
  if (fstatat(directory, path, &s, 0) != 0) return errno;
  fill(identity, &s);
  return 0;
}

int cs_identify_open(int descriptor, cs_identity *identity) {
  struct stat s;
  if (fstat(descriptor, &s) != 0) return errno;
  fill(identity, &s);
  return 0;
}

int cs_pipe(int ends[2]) {
  int raw[2];
  if (pipe2(raw, O_CLOEXEC) != 0) return errno;
  for (int i = 0; i < 2; i++) {
    // Descriptors below are given out only where somebody closed the standard ones.
    ends[i] = raw[i] > 3 ? raw[i] : fcntl(raw[i], F_DUPFD_CLOEXEC, 4);
    if (ends[i] >= 0) continue;
    int failure = errno;
    close(raw[0]);
    close(raw[1]);
    if (i == 1 && ends[0] != raw[0]) close(ends[0]);
    return failure;
  }
  for (int i = 0; i < 2; i++)
    if (ends[i] != raw[i]) close(raw[i]);
  return 0;
}

int cs_script(const void *bytes, size_t count) {
  int made = memfd_create("command", MFD_CLOEXEC);
  if (made < 0) return -1;
  // Numbered 10 or higher, so that it never collides with what a child is given.
  int script = fcntl(made, F_DUPFD_CLOEXEC, 10);
  close(made);
  if (script < 0) return -1;
  for (size_t written = 0; written < count;) {
    ssize_t more = write(script, (const char *)bytes + written, count - written);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) {
      int failure = errno;
      close(script);
      errno = failure;
      return -1;
    }
    written += (size_t)more;
  }
  return script;
}

int cs_signals_open(const int *signals, int count, sigset_t *old) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
  int failure = pthread_sigmask(SIG_BLOCK, &set, old);
  if (failure != 0) {
    errno = failure;
    return -1;
  }
  int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor < 0) {
    failure = errno;
    pthread_sigmask(SIG_SETMASK, old, NULL);
    errno = failure;
  }
  return descriptor;
}

int cs_signals_read(int descriptor) {
  struct signalfd_siginfo info;
  ssize_t count = read(descriptor, &info, sizeof info);
  return count == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int cs_pidfd_open(pid_t process) {
#ifdef SYS_pidfd_open
  return (int)syscall(SYS_pidfd_open, process, 0);
#else
  errno = ENOSYS;
  return -1;
#endif
}

int cs_exit_code(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  return 1;
}

int cs_exit_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

int cs_copy(int from, int to) {
#ifdef FICLONE
  if (ioctl(to, FICLONE, from) == 0) return 0;
#endif
  char piece[65536];
  for (;;) {
    ssize_t count = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
    if (count > 0) continue;
    // Zero may also mean a file system that cannot do it: reading tells.
    if (count < 0 && errno == EINTR) continue;
    break;
  }
  for (;;) {
    ssize_t count = read(from, piece, sizeof piece);
    if (count == 0) return 0;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    for (ssize_t sent = 0; sent < count;) {
      ssize_t more = write(to, piece + sent, (size_t)(count - sent));
      if (more < 0 && errno == EINTR) continue;
      if (more < 0) return errno;
      sent += more;
    }
  }
}

uint64_t cs_hash(const void *bytes, size_t count, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, count, seed);
}

uint64_t cs_hash_both(const void *bytes, size_t count, const void *more, size_t more_count,
                      uint64_t seed) {
  XXH3_state_t state;
  // Without it, what lies on the stack may make the reset leave something out.
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset_withSeed(&state, seed);
  XXH3_64bits_update(&state, bytes, count);
  XXH3_64bits_update(&state, more, more_count);
  return XXH3_64bits_digest(&state);
}

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t cs_now(void) { return now(CLOCK_REALTIME); }
int64_t cs_monotonic(void) { return now(CLOCK_MONOTONIC); }

char **cs_environment(void) { return environ; }
