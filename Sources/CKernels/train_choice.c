// SPDX-License-Identifier: Apache-2.0
// Which build of the kernels this CPU runs.
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "train_math.h"

const ck_train_kernels *ck_train_named(const char *name) {
#if defined(__x86_64__)
  int has_avx2 = CK_CPU_HAS(AVX2, "avx2") && CK_CPU_HAS(FMA, "fma");
  if (strcmp(name, "avx512") == 0)
    return has_avx2 && CK_CPU_HAS(AVX512F, "avx512f") && CK_CPU_HAS(AVX512VL, "avx512vl") &&
                   CK_CPU_HAS(AVX512DQ, "avx512dq") && CK_CPU_HAS(AVX512BW, "avx512bw")
               ? &ck_train_table_avx512
               : NULL;
  if (strcmp(name, "avx2") == 0) return has_avx2 ? &ck_train_table_avx2 : NULL;
#endif
  return strcmp(name, "plain") == 0 ? &ck_train_table_plain : NULL;
}

const ck_train_kernels *ck_train_float32(void) {
  const char *wanted = getenv("QUENCH_TRAIN_ISA");
  const ck_train_kernels *table = wanted ? ck_train_named(wanted) : NULL;
  if (!table) table = ck_train_named("avx512");
  if (!table) table = ck_train_named("avx2");
  return table ? table : &ck_train_table_plain;
}

const ck_train_kernels *ck_train_float64(void) { return &ck_train_table_float64; }

int32_t ck_train_has_fma(void) {
#if defined(__x86_64__)
  return CK_CPU_HAS(FMA, "fma") != 0;
#else
  return 1;
#endif
}
