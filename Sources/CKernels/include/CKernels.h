// SPDX-License-Identifier: Apache-2.0
// CKernels: number kernels and digests. No policy, no printing. All functions are thread-safe on
// distinct arguments.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "CKernelsChecksum.h"
#include "CKernelsDigest.h"
#include "CKernelsHistogram.h"
#include "CKernelsTraining.h"

#endif
