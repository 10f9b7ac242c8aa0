// SPDX-License-Identifier: Apache-2.0
// The kernels for every other CPU, with vectors of 16 bytes (NEON on arm64): tiles of 8 rows by 8
// columns. On an x86 CPU without FMA the fused operations are done in software: right, but slow.
#include "train_math.h"

#define T float
#define I int32_t
#define VB 16
#define MR 8
#define MAGIC 12582912.0f
#define SQRT sqrtf
#define TABLE ck_train_table_plain
#define TABLE_NAME "plain"
#include "train_body.h"
