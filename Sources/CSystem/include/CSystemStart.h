// SPDX-License-Identifier: Apache-2.0
// CSystem: commands started, in the calling thread or in one of their own, since whoever starts a
// process stands still until the new program is loaded.
#ifndef CSYSTEM_START_H
#define CSYSTEM_START_H

#include <stddef.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// One command to start. Used by one thread at a time, but for what `cs_starter_add` says.
typedef struct cs_start cs_start;
/// A thread that starts commands in the order in which they come.
typedef struct cs_starter cs_starter;

/// What a command is given. All of it must live until the command was started, but for the bytes.
typedef struct {
  /// The program that the command's first word means, or NULL. Where it cannot be run, and where
  /// there is none, the shell gets the command.
  const char *_Nullable program;
  /// The command: words between spaces for a program, the script of `/bin/sh -c` for the shell.
  const void *_Nullable command;
  size_t count;
  /// Unless -1, the shell reads this file instead: for scripts too long to be an argument.
  int script;
  char *_Nullable const *_Nonnull environment;
  /// The directory to start in.
  int directory;
  /// Standard input, and the writing end for both outputs; output -1: all three and the process
  /// group are inherited.
  int input, output;
  /// Descriptor 3, or -1.
  int progress;
} cs_command;

/// Copies program and command. NULL when memory is out.
cs_start *_Nullable cs_start_new(const cs_command *command);
/// Starts it now, in a process group of its own unless it inherits; closes `output` and `progress`.
void cs_start_run(cs_start *start);
/// Waits until it was started. Returns 0 or errno.
int cs_start_result(cs_start *start, pid_t *process);
/// Not before `cs_start_result`, or if it was never run.
void cs_start_free(cs_start *_Nullable start);

/// NULL when there is no thread to be had.
cs_starter *_Nullable cs_starter_new(void);
/// Has the thread run it; the caller may ask for the result, and nothing else.
void cs_starter_add(cs_starter *starter, cs_start *start);
/// Waits until all that came was started.
void cs_starter_free(cs_starter *_Nullable starter);

#pragma clang assume_nonnull end
#endif
