// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CSystemStart.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { stack_size = 32 * 1024, last_signal = 64 };

/// What the child needs, made before it is there: it shares our memory and may not take any.
typedef struct {
  const cs_command *command;
  char **words;
  char *shell[4];
  int failure;
} request;

/// Signals whose handlers could run in a child before its program is there.
static sigset_t handled;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_handled(void) {
  sigemptyset(&handled);
  for (int number = 1; number <= last_signal; number++) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_DFL &&
        now.sa_handler != SIG_IGN)
      sigaddset(&handled, number);
  }
}

/// Runs in the parent's memory while the parent stands still, with all signals blocked.
static int child(void *argument) {
  request *wanted = argument;
  const cs_command *c = wanted->command;
  struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number <= last_signal; number++)
    if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGPIPE ||
        sigismember(&handled, number) == 1)
      sigaction(number, &standard, NULL);
  if (fchdir(c->directory) != 0) goto failed;
  if (c->output >= 0) {
    if (setpgid(0, 0) != 0 || dup2(c->input, 0) < 0 || dup2(c->output, 1) < 0 ||
        dup2(c->output, 2) < 0)
      goto failed;
  }
  if (c->progress >= 0 && dup2(c->progress, 3) < 0) goto failed;
  if (c->script >= 0 && fcntl(c->script, F_SETFD, 0) != 0) goto failed;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  errno = ENOENT;
  if (c->program != NULL) execve(c->program, wanted->words, c->environment);
  // What the shell says of a file that is no program is what people know.
  if (errno == ENOEXEC || errno == ENOENT || errno == EACCES)
    execve("/bin/sh", wanted->shell, c->environment);
failed:
  wanted->failure = errno != 0 ? errno : EINVAL;
  _exit(127);
}

/// Cuts a command into its words, which stand in `text` then. NULL when memory is out.
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

/// As posix_spawn does it, without asking for 64 handlers and limits for each process.
static pid_t start(request *wanted) {
  pthread_once(&once, find_handled);
  char stack[stack_size] __attribute__((aligned(16)));
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pid_t process = clone(child, stack + stack_size, CLONE_VM | CLONE_VFORK | SIGCHLD, wanted);
  if (process < 0) wanted->failure = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (process > 0 && wanted->failure != 0)
    while (waitpid(process, NULL, 0) < 0 && errno == EINTR) continue;
  return process;
}

int cs_start(const cs_command *command, pid_t *process) {
  request wanted = {.command = command};
  char script[32];
  char *text = strndup(command->script < 0 ? command->command : "", command->count);
  char *words = command->program == NULL ? NULL : strndup(command->command, command->count);
  if (words != NULL) wanted.words = split(words);
  int failure = ENOMEM;
  if (text != NULL && (command->program == NULL || wanted.words != NULL)) {
    wanted.shell[0] = "/bin/sh";
    wanted.shell[1] = "-c";
    wanted.shell[2] = text;
    if (command->script >= 0) {
      snprintf(script, sizeof script, "/dev/fd/%d", command->script);
      wanted.shell[1] = script;
      wanted.shell[2] = NULL;
    }
    *process = start(&wanted);
    failure = wanted.failure;
  }
  free(wanted.words);
  free(words);
  free(text);
  return failure;
}
