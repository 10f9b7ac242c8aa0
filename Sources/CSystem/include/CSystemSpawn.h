// SPDX-License-Identifier: Apache-2.0
// What posix_spawn and pipe offer as GNU extensions, which Glibc's Swift module hides.
#ifndef CSYSTEM_SPAWN_H
#define CSYSTEM_SPAWN_H

#include <spawn.h>

/// Makes the child change its directory before it runs. `path` must live until the spawn.
/// Returns 0 or an errno value.
int cs_spawn_chdir(posix_spawn_file_actions_t *_Nonnull actions, const char *_Nonnull path);

/// A pipe whose ends close on exec, made in one step so that no other thread's child inherits them.
/// Returns 0, or -1 with errno set.
int cs_pipe_cloexec(int descriptors[_Nonnull 2]);

#endif
