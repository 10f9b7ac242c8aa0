// SPDX-License-Identifier: Apache-2.0
// The kernels in float64: the same source, for checking gradients against differences.
#include "train_math.h"

#define T double
#define I int64_t
#define VB 16
#define MR 6
#define MAGIC 6755399441055744.0
#define SQRT sqrt
#define TABLE ck_train_table_float64
#define TABLE_NAME "float64"
#include "train_body.h"
