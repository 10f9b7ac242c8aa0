// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX2 with FMA: tiles of 6 rows by 16 columns.
#include "train_math.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define T float
#define I int32_t
#define VB 32
#define MR 6
#define MAGIC 12582912.0f
#define SQRT sqrtf
#define TABLE ck_train_table_avx2
#define TABLE_NAME "avx2"
#include "train_body.h"
#pragma clang attribute pop
#endif
