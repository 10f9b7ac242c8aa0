// SPDX-License-Identifier: Apache-2.0
// Threads that share the work of one kernel call. Between calls they look for the next one for a
// tenth of a millisecond at most, as calls follow each other closely, and then sleep: threads that
// spin for long make a busy machine slower by far. A thread that wakes after a call is over is not
// waited for.
#include "train_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 3
#define KINDS 64  // of tasks that the meter tells apart

typedef struct {
  void *memory[SLOTS];
  size_t bytes[SLOTS];
  double busy;  // seconds of this worker in the call under way
} scratch;

typedef struct {
  int32_t count;
  ck_train_meter kinds[KINDS];
} meter;

struct ck_train_pool {
  int32_t threads;
  pthread_t *handles;
  scratch *scratches;  // one a worker, then the shared one
  pthread_mutex_t lock;
  pthread_cond_t start, done;
  atomic_uint_fast64_t generation;  // counts calls
  atomic_int_fast32_t running;      // workers in the call; changed with the lock held
  int32_t open;                     // workers may still join the call
  int32_t sleeping, ends;
  ck_train_task run;
  void *context;
  ptrdiff_t tasks;
  atomic_ptrdiff_t next;
  meter *meter;  // NULL when nobody counts
};

typedef struct {
  ck_train_pool *pool;
  int32_t worker;
} worker_start;

#define MOST_SPINS 4096
#define LEAST_SPINS 64

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void work(ck_train_pool *pool, int32_t worker) {
  double begin = pool->meter ? seconds() : 0;
  for (;;) {
    ptrdiff_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (task >= pool->tasks) break;
    pool->run(pool->context, task, worker);
  }
  if (pool->meter) pool->scratches[worker].busy = seconds() - begin;
}

static void *worker_main(void *argument) {
  worker_start start = *(worker_start *)argument;
  free(argument);
  ck_train_pool *pool = start.pool;
  uint_fast64_t seen = 0;
  long budget = LEAST_SPINS;
  for (;;) {
    // Looks for longer after it was worth it, for less when it was not.
    long spins = 0;
    while (spins < budget && atomic_load_explicit(&pool->generation, memory_order_relaxed) == seen) {
      pause_briefly();
      spins++;
    }
    budget = spins < budget ? budget * 2 : budget / 2;
    if (budget > MOST_SPINS) budget = MOST_SPINS;
    if (budget < LEAST_SPINS) budget = LEAST_SPINS;
    pthread_mutex_lock(&pool->lock);
    pool->sleeping++;
    while (pool->generation == seen && !pool->ends) pthread_cond_wait(&pool->start, &pool->lock);
    pool->sleeping--;
    if (pool->ends) break;
    seen = pool->generation;
    int32_t joins = pool->open;
    pool->running += joins;
    pthread_mutex_unlock(&pool->lock);
    if (!joins) continue;
    work(pool, start.worker);
    pthread_mutex_lock(&pool->lock);
    if (--pool->running == 0) pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

ck_train_pool *ck_train_pool_make(int32_t threads) {
  if (threads < 1) threads = 1;
  ck_train_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  pool->handles = calloc((size_t)threads, sizeof *pool->handles);
  pool->scratches = calloc((size_t)threads + 1, sizeof *pool->scratches);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->start, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->threads = 1;
  if (!pool->handles || !pool->scratches) {
    ck_train_pool_free(pool);
    return NULL;
  }
  for (int32_t i = 1; i < threads; i++) {
    worker_start *start = malloc(sizeof *start);
    if (!start) break;
    *start = (worker_start){pool, i};
    if (pthread_create(&pool->handles[i], NULL, worker_main, start) != 0) {
      free(start);  // fewer threads do the same work
      break;
    }
    pool->threads++;
  }
  return pool;
}

void ck_train_pool_free(ck_train_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->ends = 1;
  pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
  for (int32_t i = 1; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
  if (pool->scratches)
    for (int32_t i = 0; i <= pool->threads; i++)
      for (int slot = 0; slot < SLOTS; slot++) free(pool->scratches[i].memory[slot]);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->start);
  pthread_mutex_destroy(&pool->lock);
  free(pool->meter);
  free(pool->scratches);
  free(pool->handles);
  free(pool);
}

static void run_all(ck_train_pool *pool, ck_train_task run, void *context, ptrdiff_t tasks) {
  for (int32_t i = 0; pool->meter && i < pool->threads; i++) pool->scratches[i].busy = 0;
  pthread_mutex_lock(&pool->lock);
  pool->run = run;
  pool->context = context;
  pool->tasks = tasks;
  atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
  pool->open = 1;
  pool->generation++;
  if (pool->sleeping > 0) pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
  work(pool, 0);
  pthread_mutex_lock(&pool->lock);
  pool->open = 0;
  pthread_mutex_unlock(&pool->lock);
  for (long spins = 0; spins < MOST_SPINS && pool->running > 0; spins++) pause_briefly();
  pthread_mutex_lock(&pool->lock);
  while (pool->running > 0) pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

static void count(ck_train_pool *pool, const char *name, double wall, double busy) {
  meter *m = pool->meter;
  int32_t i = 0;
  while (i < m->count && strcmp(m->kinds[i].name, name) != 0) i++;
  if (i == KINDS) return;
  if (i == m->count) m->kinds[m->count++] = (ck_train_meter){name, 0, 0, 0};
  m->kinds[i].calls++;
  m->kinds[i].wall += wall;
  m->kinds[i].busy += busy;
}

void ck_train_run_named(
    ck_train_pool *pool, const char *name, ck_train_task run, void *context, ptrdiff_t tasks) {
  double begin = pool->meter ? seconds() : 0, busy = 0;
  if (pool->threads == 1 || tasks <= 1) {
    for (ptrdiff_t task = 0; task < tasks; task++) run(context, task, 0);
    if (pool->meter) busy = seconds() - begin;
  } else {
    run_all(pool, run, context, tasks);
    for (int32_t i = 0; pool->meter && i < pool->threads; i++) busy += pool->scratches[i].busy;
  }
  if (pool->meter) count(pool, name, seconds() - begin, busy);
}

void ck_train_meter_start(ck_train_pool *pool) {
  free(pool->meter);
  pool->meter = calloc(1, sizeof *pool->meter);
}

int32_t ck_train_meter_stop(ck_train_pool *pool, ck_train_meter *entries, int32_t capacity) {
  if (!pool->meter) return 0;
  int32_t count = pool->meter->count < capacity ? pool->meter->count : capacity;
  memcpy(entries, pool->meter->kinds, (size_t)count * sizeof *entries);
  free(pool->meter);
  pool->meter = NULL;
  return count;
}

int32_t ck_train_threads(const ck_train_pool *pool) { return pool->threads; }

static void *grown(scratch *s, int32_t slot, size_t bytes) {
  if (s->bytes[slot] < bytes) {
    free(s->memory[slot]);
    size_t rounded = (bytes + bytes / 4 + 4095) & ~(size_t)4095;
    s->memory[slot] = aligned_alloc(64, rounded);
    // A few megabytes at most; the big tensors are the caller's. Nothing sensible is left to do.
    if (!s->memory[slot]) abort();
    s->bytes[slot] = rounded;
  }
  return s->memory[slot];
}

void *ck_train_scratch(ck_train_pool *pool, int32_t worker, int32_t slot, size_t bytes) {
  return grown(&pool->scratches[worker], slot, bytes);
}

void *ck_train_shared(ck_train_pool *pool, int32_t slot, size_t bytes) {
  return grown(&pool->scratches[pool->threads], slot, bytes);
}
