// SPDX-License-Identifier: Apache-2.0
// exp, log and erf in plain double arithmetic, without fused operations or the C library.
#include "train_math.h"

#include <string.h>

#pragma clang fp contract(off)

static double from_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// ln 2 in two parts; the first has 20 zero bits at its end, so that n times it is exact.
static const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;

// x = n ln 2 + r with |r| <= ln 2 / 2, then Taylor's polynomial of r to the 13th power, whose
// remainder is below 2^-57.
double ck_train_exp(double x) {
  if (x != x) return x;
  if (x > 709.7) return from_bits(0x7FF0000000000000u);
  if (x < -708.3) return 0;
  double n = (x * 1.44269504088896340736 + 6755399441055744.0) - 6755399441055744.0;
  double r = (x - n * ln2_high) - n * ln2_low, sum = 1.0 / 6227020800.0;
  static const double inverse[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                   1.0 / 40320,     1.0 / 5040,     1.0 / 720,     1.0 / 120,
                                   1.0 / 24,        1.0 / 6,        0.5,           1.0};
  for (int i = 0; i < 12; i++) sum = sum * r + inverse[i];
  sum = sum * r + 1;
  return sum * from_bits((uint64_t)((int64_t)n + 1023) << 52);
}

// x = m 2^e with m in [sqrt(1/2), sqrt 2); ln m = 2 atanh(t), t = (m - 1) / (m + 1), |t| < 0.1716.
double ck_train_log(double x) {
  if (!(x > 0)) return from_bits(x == 0 ? 0xFFF0000000000000u : 0x7FF8000000000000u);
  uint64_t bits = bits_of(x);
  if (bits >= 0x7FF0000000000000u) return x;
  int64_t e = (int64_t)(bits >> 52) - 1023;
  double m = from_bits((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    e++;
  }
  double t = (m - 1) / (m + 1), square = t * t, sum = 0;
  for (int k = 23; k >= 3; k -= 2) sum = (sum + 1.0 / k) * square;
  double n = (double)e;
  return n * ln2_high + (2 * t + (2 * t * sum + n * ln2_low));
}

// erf x = 2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (1 3 5 ... (2n+1)); all terms are positive.
// Source: Abramowitz and Stegun, 7.1.6.
double ck_train_erf(double x) {
  double a = x < 0 ? -x : x;
  if (a != a) return x;
  if (a > 5.93) return x < 0 ? -1 : 1;
  double square = a * a, term = a, sum = a;
  for (int n = 1; term > sum * 0x1p-54 && n < 200; n++) {
    term *= 2 * square / (2 * n + 1);
    sum += term;
  }
  double y = 1.12837916709551257390 * ck_train_exp(-square) * sum;
  if (y > 1) y = 1;
  return x < 0 ? -y : y;
}
