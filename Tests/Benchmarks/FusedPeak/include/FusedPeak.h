// SPDX-License-Identifier: Apache-2.0
// How many fused multiply-adds this machine can do at most.
#ifndef FUSED_PEAK_H
#define FUSED_PEAK_H

/// GFLOP/s of float32 fused multiply-adds on registers alone, `threads` at once, by the CPU's widest
/// vectors of at most `bytes`; a multiply-add is two operations. Takes about 0.1 s; 0 without FMA.
double fused_peak(int threads, int bytes);

#endif
