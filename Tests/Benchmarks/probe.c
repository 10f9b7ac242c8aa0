// SPDX-License-Identifier: Apache-2.0
// What measure.py cannot do itself: start a program from a small process, and look at files.
//
//   probe run LOG COMMAND...   runs COMMAND, its output into LOG; prints wall and processor time in
//                              microseconds, peak memory in KiB, and the exit code. The kernel
//                              carries the peak of whoever starts a program over to it, so the
//                              starter must be small.
//   probe stat LIST            looks once at each file named in LIST, one a line: the floor under
//                              every build that has to know that nothing changed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t microseconds(struct timeval t) { return (int64_t)t.tv_sec * 1000000 + t.tv_usec; }

static int run(const char *log, char **command) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  int64_t start = now();
  pid_t child;
  int failure = posix_spawnp(&child, command[0], &actions, NULL, command, environ);
  if (failure != 0) {
    fprintf(stderr, "probe: cannot start %s: %s\n", command[0], strerror(failure));
    return 127;
  }
  int status;
  struct rusage use;
  while (wait4(child, &status, 0, &use) < 0 && errno == EINTR) continue;
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  printf("%lld %lld %ld %d\n", (long long)(now() - start),
         (long long)(microseconds(use.ru_utime) + microseconds(use.ru_stime)), use.ru_maxrss, code);
  return 0;
}

static int look(const char *list) {
  FILE *file = fopen(list, "r");
  if (file == NULL) return 66;
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  struct stat status;
  while ((length = getline(&line, &size, file)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    stat(line, &status);
  }
  return 0;
}

int main(int count, char **words) {
  if (count > 3 && strcmp(words[1], "run") == 0) return run(words[2], words + 3);
  if (count == 3 && strcmp(words[1], "stat") == 0) return look(words[2]);
  fputs("usage: probe run LOG COMMAND... | probe stat LIST\n", stderr);
  return 64;
}
