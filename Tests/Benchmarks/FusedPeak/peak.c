// SPDX-License-Identifier: Apache-2.0
// Independent chains of fused multiply-adds that never leave the registers.
#include "FusedPeak.h"

#include <pthread.h>
#include <time.h>

#define CHAINS 24
#define ROUNDS 40000000L
#define MOST_THREADS 64

// The empty assembly keeps all chains in registers and stops the compiler from joining them.
#define LOOP(NAME, VECTOR, TARGET)                                                        \
  typedef float NAME##_v __attribute__((vector_size(VECTOR)));                            \
  TARGET static double NAME(void) {                                                       \
    NAME##_v r[CHAINS], a = (NAME##_v){0} + 0.999f, b = (NAME##_v){0} + 0.001f;           \
    for (int i = 0; i < CHAINS; i++) r[i] = (NAME##_v){0} + (float)i;                     \
    for (long n = 0; n < ROUNDS; n++) {                                                   \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) {               \
        r[i] = __builtin_elementwise_fma(r[i], a, b);                                     \
        KEEP(r[i]);                                                                       \
      }                                                                                   \
    }                                                                                     \
    float sum = 0;                                                                        \
    for (int i = 0; i < CHAINS; i++) sum += r[i][0];                                      \
    volatile float sink = sum;                                                            \
    (void)sink;                                                                           \
    return 2.0 * CHAINS * (VECTOR / 4) * ROUNDS;                                          \
  }

#if defined(__x86_64__)
#define KEEP(x) __asm__ volatile("" : "+v"(x))
LOOP(wide, 64, __attribute__((target("avx512f"))))
LOOP(narrow, 32, __attribute__((target("avx2,fma"))))
static double (*best(void))(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return wide;
  return __builtin_cpu_supports("fma") ? narrow : 0;
}
#elif defined(__aarch64__)
#define KEEP(x) __asm__ volatile("" : "+w"(x))
LOOP(narrow, 16, )
static double (*best(void))(void) { return narrow; }
#else
static double (*best(void))(void) { return 0; }
#endif

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *run(void *operations) {
  *(double *)operations = best()();
  return 0;
}

double fused_peak(int threads) {
  if (!best() || threads < 1 || threads > MOST_THREADS) return 0;
  pthread_t handles[MOST_THREADS];
  double operations[MOST_THREADS], sum = 0, begin = seconds();
  int started = 0;
  for (; started < threads; started++)
    if (pthread_create(&handles[started], 0, run, &operations[started]) != 0) break;
  for (int i = 0; i < started; i++) {
    pthread_join(handles[i], 0);
    sum += operations[i];
  }
  return sum / (seconds() - begin) * 1e-9;
}
