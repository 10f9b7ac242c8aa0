// SPDX-License-Identifier: Apache-2.0
// Independent chains of fused multiply-adds that never leave the registers.
#include "FusedPeak.h"

#include <pthread.h>
#include <time.h>

#define ROUNDS 40000000L
#define MOST_THREADS 64

// The factors come from memory that may change, so that nothing is computed when compiling. Twice as
// many chains as the two multipliers of a core need, and as fit into the registers.
#define LOOP(NAME, VECTOR, CHAINS, TARGET)                                                  \
  typedef float NAME##_v __attribute__((vector_size(VECTOR)));                              \
  TARGET static double NAME(void) {                                                         \
    volatile float factor = 0.999f, addend = 0.001f;                                        \
    NAME##_v r[CHAINS], a = (NAME##_v){0} + factor, b = (NAME##_v){0} + addend;             \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) r[i] = b * (float)i; \
    for (long n = 0; n < ROUNDS; n++) {                                                     \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++)                   \
        r[i] = __builtin_elementwise_fma(r[i], a, b);                                       \
    }                                                                                       \
    NAME##_v sum = b;                                                                       \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sum += r[i];        \
    factor = sum[0];                                                                        \
    return 2.0 * CHAINS * (VECTOR / 4) * ROUNDS;                                            \
  }

#if defined(__x86_64__)
LOOP(wide, 64, 16, __attribute__((target("avx512f"))))
LOOP(narrow, 32, 12, __attribute__((target("avx2,fma"))))
static double (*best(int bytes))(void) {
  __builtin_cpu_init();
  if (bytes >= 64 && __builtin_cpu_supports("avx512f")) return wide;
  return __builtin_cpu_supports("fma") ? narrow : 0;
}
#elif defined(__aarch64__)
LOOP(narrow, 16, 16, )
static double (*best(int bytes))(void) { return bytes >= 16 ? narrow : 0; }
#else
static double (*best(int bytes))(void) {
  (void)bytes;
  return 0;
}
#endif

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct {
  double (*loop)(void);
  double operations;
} trial;

static void *run(void *argument) {
  trial *t = argument;
  t->operations = t->loop();
  return 0;
}

double fused_peak(int threads, int bytes) {
  double (*loop)(void) = best(bytes);
  if (!loop || threads < 1 || threads > MOST_THREADS) return 0;
  pthread_t handles[MOST_THREADS];
  trial trials[MOST_THREADS];
  double sum = 0, begin = seconds();
  int started = 0;
  for (; started < threads; started++) {
    trials[started] = (trial){loop, 0};
    if (pthread_create(&handles[started], 0, run, &trials[started]) != 0) break;
  }
  for (int i = 0; i < started; i++) {
    pthread_join(handles[i], 0);
    sum += trials[i].operations;
  }
  return sum / (seconds() - begin) * 1e-9;
}
