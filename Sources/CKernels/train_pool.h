// SPDX-License-Identifier: Apache-2.0
// The pool's inside, for the kernels.
#ifndef CK_TRAIN_POOL_H
#define CK_TRAIN_POOL_H

#include "CKernelsTraining.h"

/// One task of `tasks`; `worker` is the number of the thread, for scratch.
typedef void (*ck_train_task)(void *context, ptrdiff_t task, int32_t worker);

/// Runs all tasks, on any thread in any order, and waits. Tasks must write apart. The function's
/// name is what the meter counts under.
#define ck_train_run(pool, run, context, tasks) \
  ck_train_run_named((pool), #run, (run), (context), (tasks))
void ck_train_run_named(
    ck_train_pool *pool, const char *name, ck_train_task run, void *context, ptrdiff_t tasks);

int32_t ck_train_threads(const ck_train_pool *pool);

/// A worker's scratch of at least `bytes`, 64-byte aligned; slot 0...2. Contents do not survive.
void *ck_train_scratch(ck_train_pool *pool, int32_t worker, int32_t slot, size_t bytes);

/// The caller's scratch, shared by the tasks of one call.
void *ck_train_shared(ck_train_pool *pool, int32_t slot, size_t bytes);

#endif
