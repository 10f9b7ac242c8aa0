// SPDX-License-Identifier: Apache-2.0
// Functions that are the same bits on every CPU and C library: plain double arithmetic only.
#ifndef CK_TRAIN_MATH_H
#define CK_TRAIN_MATH_H

#include "train_pool.h"

/// The error function, to about a unit in the last place of a double.
double ck_train_erf(double x);

extern const ck_train_kernels ck_train_table_avx512, ck_train_table_avx2, ck_train_table_plain,
    ck_train_table_float64;

#endif
