// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CSystemSpawn.h"

#include <fcntl.h>
#include <unistd.h>

int cs_spawn_chdir(posix_spawn_file_actions_t *actions, const char *path) {
  return posix_spawn_file_actions_addchdir_np(actions, path);
}

int cs_pipe_cloexec(int descriptors[2]) { return pipe2(descriptors, O_CLOEXEC); }
