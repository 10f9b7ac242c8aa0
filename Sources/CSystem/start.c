// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CSystemStart.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { stack_size = 32 * 1024, last_signal = 64, kernel_mask_size = 8 };

struct cs_start {
  cs_command command;
  char **words;
  char *shell[4];
  char script_name[32];
  pid_t process;
  /// Written by the child, and read when it is gone.
  volatile int failure;
  volatile bool asked_shell;
  char stack[stack_size] __attribute__((aligned(16)));
  // The text, NUL, the program, NUL, the file, NUL, and the words' text.
  char bytes[];
};

/// Signals that the child must not find ignored, or whose handlers it must not run: bit 0 is
/// signal 1.
static uint64_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void change(int number) { changed |= (uint64_t)1 << (number - 1); }

static void find_changed(void) {
  for (int number = 1; number <= last_signal; number++) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_DFL &&
        now.sa_handler != SIG_IGN)
      change(number);
  }
  change(SIGINT);
  change(SIGTERM);
  change(SIGHUP);
  change(SIGPIPE);
}

/// A system call that leaves errno alone: until its program is loaded, the child shares our memory,
/// the calling thread's errno too, and may call nothing of the C library. Returns a negated errno.
static long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
  long result;
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#else
  // Here the parent stands still meanwhile (see `start_flags`).
  long result = syscall(number, a, b, c, d);
  return result < 0 ? -errno : result;
#endif
}

#if defined(__x86_64__) || defined(__aarch64__)
static const int start_flags = CLONE_VM | SIGCHLD;
#else
static const int start_flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
#endif

static long load(const char *program, char **words, char *const *environment) {
  return call(SYS_execve, (long)program, (long)words, (long)environment, 0);
}

/// Standard output into a file, as the shell does it.
static bool redirect(const char *name) {
  long file = call(SYS_openat, AT_FDCWD, (long)name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0) return false;
  if (file == 1) return true;
  bool is_done = call(SYS_dup3, file, 1, 0, 0) >= 0;
  call(SYS_close, file, 0, 0, 0);
  return is_done;
}

/// Runs beside the parent, in its memory, with all signals blocked. Writes only to what is its own.
static int child(void *argument) {
  cs_start *start = argument;
  const cs_command *c = &start->command;
  // As large as the kernel's on any architecture; zero is the standard action.
  long standard[8] = {0};
  for (int number = 1; number <= last_signal; number++)
    if (changed >> (number - 1) & 1)
      call(SYS_rt_sigaction, number, (long)standard, 0, kernel_mask_size);
  long result = call(SYS_fchdir, c->directory, 0, 0, 0);
  if (c->output >= 0) {
    if (result >= 0) result = call(SYS_setpgid, 0, 0, 0, 0);
    if (result >= 0) result = call(SYS_dup3, c->input, 0, 0, 0);
    if (result >= 0) result = call(SYS_dup3, c->output, 1, 0, 0);
    if (result >= 0) result = call(SYS_dup3, c->output, 2, 0, 0);
  }
  if (result >= 0 && c->progress >= 0) result = call(SYS_dup3, c->progress, 3, 0, 0);
  if (result >= 0 && c->script >= 0) result = call(SYS_fcntl, c->script, F_SETFD, 0, 0);
  if (result >= 0) {
    long none = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, kernel_mask_size);
    result = -ENOENT;
    if (c->program != NULL && (c->file == NULL || redirect(c->file)))
      result = load(c->program, start->words, c->environment);
    // What the shell says of a file that is no program is what people know.
    if (result == -ENOEXEC || result == -ENOENT || result == -EACCES) {
      start->asked_shell = true;
      result = load("/bin/sh", start->shell, c->environment);
    }
  }
  start->failure = (int)-result;
  for (;;) call(SYS_exit_group, 127, 0, 0, 0);
}

/// Cuts a text at its spaces. NULL when memory is out.
static char **split(char *text) {
  size_t most = 1;
  for (const char *c = text; *c != 0; c++) most += *c == ' ';
  char **words = malloc((most + 1) * sizeof *words);
  if (words == NULL) return NULL;
  size_t count = 0;
  char *rest = NULL;
  for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
    words[count++] = word;
  words[count] = NULL;
  return words;
}

/// A copy of the command, with what the child needs made beforehand: it may not take any memory.
static cs_start *copy(const cs_command *command) {
  // To open a file may take as long as somebody takes to read from it, who may be ours to start.
  bool waits = (start_flags & CLONE_VFORK) != 0 && command->file != NULL;
  const char *name = waits ? NULL : command->program;
  size_t program = name == NULL ? 0 : strlen(name) + 1;
  size_t file = name == NULL || command->file == NULL ? 0 : strlen(command->file) + 1;
  size_t text = command->script >= 0 ? 0 : command->count;
  size_t words = name == NULL ? 0 : command->words + 1;
  cs_start *start = malloc(sizeof *start + text + 1 + program + file + words);
  if (start == NULL) return NULL;
  start->command = *command;
  start->command.program = NULL;
  start->words = NULL;
  start->failure = 0;
  start->asked_shell = false;
  char *place = start->bytes;
  if (text > 0) memcpy(place, command->command, text);
  place[text] = 0;
  start->shell[0] = "/bin/sh";
  start->shell[1] = "-c";
  start->shell[2] = place;
  start->shell[3] = NULL;
  if (command->script >= 0) {
    snprintf(start->script_name, sizeof start->script_name, "/dev/fd/%d", command->script);
    start->shell[1] = start->script_name;
    start->shell[2] = NULL;
  }
  place += text + 1;
  if (program == 0) return start;
  memcpy(place, name, program);
  start->command.program = place;
  place += program;
  if (file > 0) {
    memcpy(place, command->file, file);
    start->command.file = place;
    place += file;
  }
  memcpy(place, command->command, command->words);
  place[command->words] = 0;
  start->words = split(place);
  if (start->words != NULL) return start;
  free(start);
  return NULL;
}

cs_start *cs_start_new(const cs_command *command) {
  pthread_once(&once, find_changed);
  cs_start *start = copy(command);
  if (start == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  // As posix_spawn does it, but without standing still until the program is loaded.
  start->process = clone(child, start->stack + stack_size, start_flags, start);
  int failure = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (start->process < 0) {
    free(start->words);
    free(start);
    errno = failure;
    return NULL;
  }
  // Whoever of the two is first: a signal to the group is to reach the child from now on.
  if (command->output >= 0) setpgid(start->process, start->process);
  return start;
}

pid_t cs_start_process(const cs_start *start) { return start->process; }

bool cs_start_asked_shell(const cs_start *start) { return start->asked_shell; }

int cs_start_end(cs_start *start) {
  int failure = start->failure;
  free(start->words);
  free(start);
  return failure;
}
