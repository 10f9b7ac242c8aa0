// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CSystemStart.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { stack_size = 32 * 1024, last_signal = 64 };

struct cs_start {
  cs_command command;
  char **words;
  char *shell[4];
  char script_name[32];
  pid_t process;
  int failure;
  sem_t started;
  cs_start *next;
  // The text, NUL, the program, NUL, and the words' text.
  char bytes[];
};

struct cs_starter {
  pthread_t thread;
  pthread_mutex_t mutex;
  sem_t waiting;
  cs_start *first, *last;
};

cs_start *cs_start_new(const cs_command *command) {
  size_t program = command->program == NULL ? 0 : strlen(command->program) + 1;
  size_t text = command->script >= 0 ? 0 : command->count;
  size_t words = command->program == NULL ? 0 : command->count + 1;
  cs_start *start = malloc(sizeof *start + text + 1 + program + words);
  if (start == NULL) return NULL;
  start->command = *command;
  start->words = NULL;
  start->process = 0;
  start->failure = 0;
  start->next = NULL;
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
  if (program > 0) {
    memcpy(place, command->program, program);
    start->command.program = place;
    place += program;
    memcpy(place, command->command, command->count);
    place[command->count] = 0;
    size_t most = 1;
    for (size_t i = 0; i < command->count; i++) most += place[i] == ' ';
    start->words = malloc((most + 1) * sizeof *start->words);
    if (start->words == NULL) {
      free(start);
      return NULL;
    }
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(place, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
      start->words[count++] = word;
    start->words[count] = NULL;
  }
  sem_init(&start->started, 0, 0);
  return start;
}

void cs_start_free(cs_start *start) {
  if (start == NULL) return;
  sem_destroy(&start->started);
  free(start->words);
  free(start);
}

/// Signals whose handlers could run in a child before its program is there: it shares our memory.
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
  cs_start *start = argument;
  const cs_command *c = &start->command;
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
  if (c->program != NULL) execve(c->program, start->words, c->environment);
  // What the shell says of a file that is no program is what people know.
  if (errno == ENOEXEC || errno == ENOENT || errno == EACCES)
    execve("/bin/sh", start->shell, c->environment);
failed:
  start->failure = errno != 0 ? errno : EINVAL;
  _exit(127);
}

void cs_start_run(cs_start *start) {
  pthread_once(&once, find_handled);
  char stack[stack_size] __attribute__((aligned(16)));
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  // As posix_spawn does it, without asking for 64 handlers and limits for each process.
  start->process =
      clone(child, stack + stack_size, CLONE_VM | CLONE_VFORK | SIGCHLD, start);
  if (start->process < 0) start->failure = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (start->process > 0 && start->failure != 0)
    while (waitpid(start->process, NULL, 0) < 0 && errno == EINTR) continue;
  if (start->command.output >= 0) close(start->command.output);
  if (start->command.progress >= 0) close(start->command.progress);
  sem_post(&start->started);
}

int cs_start_result(cs_start *start, pid_t *process) {
  while (sem_wait(&start->started) != 0) continue;
  sem_post(&start->started);
  *process = start->process;
  return start->failure;
}

static void *serve(void *argument) {
  cs_starter *starter = argument;
  for (;;) {
    while (sem_wait(&starter->waiting) != 0) continue;
    pthread_mutex_lock(&starter->mutex);
    cs_start *start = starter->first;
    if (start != NULL) {
      starter->first = start->next;
      if (starter->first == NULL) starter->last = NULL;
    }
    pthread_mutex_unlock(&starter->mutex);
    // Woken without work means that no more will come.
    if (start == NULL) return NULL;
    cs_start_run(start);
  }
}

cs_starter *cs_starter_new(void) {
  cs_starter *starter = calloc(1, sizeof *starter);
  if (starter == NULL) return NULL;
  pthread_mutex_init(&starter->mutex, NULL);
  sem_init(&starter->waiting, 0, 0);
  if (pthread_create(&starter->thread, NULL, serve, starter) == 0) return starter;
  sem_destroy(&starter->waiting);
  pthread_mutex_destroy(&starter->mutex);
  free(starter);
  return NULL;
}

void cs_starter_add(cs_starter *starter, cs_start *start) {
  pthread_mutex_lock(&starter->mutex);
  if (starter->last == NULL)
    starter->first = start;
  else
    starter->last->next = start;
  starter->last = start;
  pthread_mutex_unlock(&starter->mutex);
  sem_post(&starter->waiting);
}

void cs_starter_free(cs_starter *starter) {
  if (starter == NULL) return;
  sem_post(&starter->waiting);
  pthread_join(starter->thread, NULL);
  sem_destroy(&starter->waiting);
  pthread_mutex_destroy(&starter->mutex);
  free(starter);
}
