// SPDX-License-Identifier: Apache-2.0
// CSystem: commands started.
#ifndef CSYSTEM_START_H
#define CSYSTEM_START_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// A command that was started, with what its process uses until its program is loaded.
typedef struct cs_start cs_start;

/// What a command is given. Descriptors may be closed as soon as it was started, and the bytes are
/// copied; the environment must live as long as the process.
typedef struct {
  /// The program that the command's first word means, or NULL. Where it cannot be run, and where
  /// there is none, the shell gets the command.
  const char *_Nullable program;
  /// The command: the script of `/bin/sh -c` for the shell.
  const void *_Nullable command;
  size_t count;
  /// So much of it is words between spaces for the program.
  size_t words;
  /// The file that gets the program's output, written anew as by the shell's `>`; NULL: `output`.
  /// Where it cannot be opened, the shell says so.
  const char *_Nullable file;
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

/// Starts it, in a process group of its own unless it inherits. Does not wait until its program is
/// loaded. NULL and errno when there is no process to be had.
cs_start *_Nullable cs_start_new(const cs_command *command);
pid_t cs_start_process(const cs_start *start);
/// Whether the command went to the shell; to be asked when the process was collected.
bool cs_start_asked_shell(const cs_start *start);
/// To be called when the process was collected. Returns 0, or the errno for which its program could
/// not be loaded.
int cs_start_end(cs_start *start);

#pragma clang assume_nonnull end
#endif
