// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX-512: tiles of 12 rows by 32 columns.
#include "train_math.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx2"))), apply_to = function)
#define T float
#define I int32_t
#define VB 64
#define MR 12
#define MAGIC 12582912.0f
#define SQRT sqrtf
#define TABLE ck_train_table_avx512
#define TABLE_NAME "avx512"
#include "train_body.h"
#pragma clang attribute pop
#endif
