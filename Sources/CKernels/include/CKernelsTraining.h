// SPDX-License-Identifier: Apache-2.0
// Kernels for training: forward and backward of a network's operators over NHWC tensors.
//
// One source, `train_body.h` and the files it includes, is compiled several times: float32 for
// AVX-512, AVX2 with FMA, and plain vectors (NEON on arm64), and float64 for checking gradients.
// Each build is a table of functions; `void *` is float in the first three and double in the last.
//
// Determinism: every output is one chain of fused multiply-adds in the order of its summation
// index, or a sum over chunks whose number depends on the shape only, added in order. Nothing
// depends on the vector width or the number of threads, so all float32 tables give the same bytes.
//
// Rules: pointers are borrowed for the call; tensors do not overlap unless the comment says so; a
// pool serves one call at a time. Tensors need no padding behind their end.
#ifndef CKERNELS_TRAINING_H
#define CKERNELS_TRAINING_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Threads that share a call's work, and their scratch memory.
typedef struct ck_train_pool ck_train_pool;

/// Starts `threads - 1` threads, which sleep between calls. NULL when there is no memory.
ck_train_pool *_Nullable ck_train_pool_make(int32_t threads);

/// Ends the threads. Not while a call runs.
void ck_train_pool_free(ck_train_pool *_Nullable pool);

/// What the tasks of one kind took since the meter was started.
typedef struct {
  const char *name;  // of the function that does the task; static
  int64_t calls;
  double wall, busy;  // seconds of the callers; of all threads together
} ck_train_meter;

/// Starts counting, from nothing. Costs four looks at the clock a call.
void ck_train_meter_start(ck_train_pool *pool);

/// Stops counting, and writes up to `capacity` entries; returns how many.
int32_t ck_train_meter_stop(ck_train_pool *pool, ck_train_meter *entries, int32_t capacity);

/// A convolution over an NHWC tensor, or one group of it.
typedef struct {
  ptrdiff_t n, h, w, c;        // input; `c` is the channels of the group
  ptrdiff_t x_stride;          // elements from pixel to pixel of the input, at least `c`
  ptrdiff_t oh, ow, o;         // output
  ptrdiff_t y_stride;          // elements from pixel to pixel of the output, at least `o`
  ptrdiff_t kh, kw, sh, sw, dh, dw, top, left;  // kernel, stride, dilation, padding
} ck_train_conv;

/// A fake quantizer: `clamp(rint(x / scale), low, high) * scale`, with whole `low` and `high`
/// (codes less the zero point). Off when `scale` is 0. Rounds half to even.
typedef struct {
  double scale, low, high;
  int32_t codes;  // leave out the multiplication: whole numbers are read
} ck_train_grid;

/// A layer's weight, or a group of it, in ONNX's layout: the element (o, i, k) is at
/// `o * so + i * si + k * sk`, where k counts the kernel's positions. Read through a fake quantizer
/// with one scale, or one for each o, or for each i; `scale_count` is 0 for none.
typedef struct {
  ptrdiff_t o, i, k, so, si, sk;
  const void *values;
  const void *_Nullable scales;
  ptrdiff_t scale_count;
  int32_t scales_follow_i;
  double low, high;
  int32_t codes;  // as in the grid
} ck_train_weights;

/// What happens to a sum before it is stored: `clamp(sum + bias, low, high)`, or `old + sum`. With
/// `scales` the sum is one of codes: `clamp((sum + bias) * scale, low, high)`. Such a sum is exact,
/// in whatever order, as long as no part of it passes 2^24 in float32.
typedef struct {
  const void *_Nullable bias;    // one per output channel
  const void *_Nullable scales;  // one per output channel
  double low, high;            // -infinity and infinity for none; NaN passes
  int32_t accumulate;          // add to what is there; bias and limits are then not used
} ck_train_finish;

/// Elementwise functions of one argument with parameters a, b.
typedef enum {
  CK_UNARY_CLAMP,         // min(max(x, a), b); NaN passes
  CK_UNARY_LEAKY_RELU,    // x < 0 ? a x : x
  CK_UNARY_SIGMOID,       //
  CK_UNARY_HARD_SIGMOID,  // clamp(a x + b, 0, 1)
  CK_UNARY_HARD_SWISH,    // x clamp(x / 6 + 1 / 2, 0, 1)
  CK_UNARY_TANH,          //
  CK_UNARY_ERF,           //
  CK_UNARY_GELU,          // x (1 + erf(x / sqrt 2)) / 2
  CK_UNARY_EXP,           //
  CK_UNARY_SQRT,          //
  CK_UNARY_RECIPROCAL,    //
  CK_UNARY_POWER,         // x ^ a for a constant whole or half a in -8...8
  CK_UNARY_AFFINE,        // a x + b
  CK_UNARY_ABS,           //
  CK_UNARY_LOG,           //
  CK_UNARY_SOFTPLUS,      // ln(1 + e^x)
  CK_UNARY_ELU,           // x < 0 ? a (e^x - 1) : x
} ck_train_unary;

/// Elementwise functions of two arguments.
typedef enum { CK_BINARY_ADD, CK_BINARY_SUB, CK_BINARY_MUL, CK_BINARY_DIV } ck_train_binary;

/// The largest rank of strided copies and broadcasts.
#define CK_TRAIN_RANK 8

/// A loop nest over up to two operands and a result, outermost first; stride 0 repeats.
typedef struct {
  ptrdiff_t rank;
  ptrdiff_t extent[CK_TRAIN_RANK], a[CK_TRAIN_RANK], b[CK_TRAIN_RANK], y[CK_TRAIN_RANK];
} ck_train_nest;

/// Windows of a pooling operator over NHWC.
typedef struct {
  ptrdiff_t n, h, w, c, oh, ow, kh, kw, sh, sw, dh, dw, top, left;
  int32_t counts_padding;  // average: divide by the whole window
} ck_train_window;

/// `count` products of matrices, C = A B or C += A B. Strides in elements; C's last is 1.
typedef struct {
  ptrdiff_t count, m, n, k;
  ptrdiff_t a_item, a_m, a_k, b_item, b_k, b_n, c_item, c_m;
  int32_t accumulate;
} ck_train_matmul;

/// The functions of one build.
typedef struct {
  const char *name;      // "avx512", "avx2", "plain", "float64"
  int32_t element_size;  // 4 or 8
  int32_t lanes;         // of a vector

  // Weights.

  /// Elements that a packed matrix [rows][columns] takes.
  ptrdiff_t (*packed_count)(ptrdiff_t rows, ptrdiff_t columns);
  /// Packs the matrix [k i][o] for `conv_forward`.
  void (*weights_pack_forward)(ck_train_pool *pool, const ck_train_weights *w, void *packed);
  /// Packs the matrix [k o][i] for `conv_input` of the same convolution.
  void (*weights_pack_input)(
      ck_train_pool *pool, const ck_train_weights *w, const ck_train_conv *g, void *packed);
  /// Depthwise filters, i == 1, to [k][o].
  void (*weights_pack_depthwise)(ck_train_pool *pool, const ck_train_weights *w, void *packed);
  /// Adds a dense gradient [o][k][i] to `gradient` (ONNX's layout), masked where the code was
  /// clamped, and writes each output channel's derivative by its scale (o elements). Scales must
  /// not follow i.
  void (*weights_gradient)(
      ck_train_pool *pool, const ck_train_weights *w, const void *dense, void *gradient,
      double *scale_gradient);

  // Convolutions.

  /// y = conv(fake quantized x, packed [kh kw c][o]).
  void (*conv_forward)(
      ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
      const void *packed, const ck_train_finish *finish, void *y);
  /// dx (+)= transpose of the convolution; packed [kh kw o][c], by `weights_pack_input`.
  void (*conv_input)(
      ck_train_pool *pool, const ck_train_conv *g, const void *dy, const void *packed,
      int32_t accumulate, void *dx);
  /// dense = dy^T * patches(fake quantized x): [o][kh kw c].
  void (*conv_weights)(
      ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
      const void *dy, void *dense);
  /// Depthwise: one filter a channel, `weights` [kh kw][c], c == o.
  void (*depthwise_forward)(
      ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
      const void *weights, const ck_train_finish *finish, void *y);
  /// dx (+)= transpose of the depthwise convolution.
  void (*depthwise_input)(
      ck_train_pool *pool, const ck_train_conv *g, const void *dy, const void *weights,
      int32_t accumulate, void *dx);
  /// gradient = [kh kw][c].
  void (*depthwise_weights)(
      ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
      const void *dy, void *gradient);
  /// Products of computed matrices.
  void (*matmul)(
      ck_train_pool *pool, const ck_train_matmul *g, const void *a, const void *b, void *c);

  // Fake quantization of activations.

  /// The gradient behind a fake quantizer: dx = q inside, 0 outside, plus the old dx with
  /// `accumulate`; then 0 where not (gate_low < x < gate_high), which is the backward of a clamp
  /// that made x. `dx` may be `q`. Returns the derivative by the scale.
  double (*quantizer_backward)(
      ck_train_pool *pool, ptrdiff_t count, const ck_train_grid *grid, const void *x, const void *q,
      int32_t accumulate, double gate_low, double gate_high, void *dx);
  /// y = fake quantized x.
  void (*quantizer_forward)(
      ck_train_pool *pool, ptrdiff_t count, const ck_train_grid *grid, const void *x, void *y);

  // Elementwise.

  void (*unary_forward)(
      ck_train_pool *pool, ck_train_unary op, ptrdiff_t count, double a, double b, const void *x,
      void *y);
  /// dx (+)= g * f'(x). `x` is the argument, but for CLAMP either that or the result. `dx` may be `g`.
  void (*unary_backward)(
      ck_train_pool *pool, ck_train_unary op, ptrdiff_t count, double a, double b, const void *x,
      const void *g, int32_t accumulate, void *dx);
  /// y = clamp(a op b) over a nest; y may be a or b when their strides are the same.
  void (*binary)(
      ck_train_pool *pool, ck_train_binary op, const ck_train_nest *nest, double low, double high,
      const void *a, const void *b, void *y);
  /// y (+)= a over a nest; repeats in y are not allowed.
  void (*copy)(
      ck_train_pool *pool, const ck_train_nest *nest, const void *a, int32_t accumulate, void *y);
  /// y (+)= x, dense.
  void (*add)(ck_train_pool *pool, ptrdiff_t count, const void *x, int32_t accumulate, void *y);

  // Reductions and windows.

  /// y[o, i] (+)= factor * sum over r of x[o, r, i].
  void (*sum)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t reduced, ptrdiff_t inner, double factor,
      const void *x, int32_t accumulate, void *y);
  /// dx[o, r, i] (+)= factor * g[o, i].
  void (*spread)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t reduced, ptrdiff_t inner, double factor,
      const void *g, int32_t accumulate, void *dx);
  /// `position`: for each output the winning input's offset in its image, the first of equals.
  void (*max_pool_forward)(
      ck_train_pool *pool, const ck_train_window *g, const void *x, void *y, int32_t *position);
  void (*max_pool_backward)(
      ck_train_pool *pool, const ck_train_window *g, const int32_t *position, const void *dy,
      int32_t accumulate, void *dx);
  void (*average_pool_forward)(
      ck_train_pool *pool, const ck_train_window *g, const void *x, void *y);
  void (*average_pool_backward)(
      ck_train_pool *pool, const ck_train_window *g, const void *dy, int32_t accumulate, void *dx);
  /// Over the middle axis.
  void (*softmax_forward)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t inner, const void *x,
      void *y);
  void (*softmax_backward)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t inner, const void *y,
      const void *g, int32_t accumulate, void *dx);
  /// y = (x - mean) / sqrt(variance + epsilon) of each row; `spread` gets 1 / sqrt(...).
  void (*normalize_forward)(
      ck_train_pool *pool, ptrdiff_t rows, ptrdiff_t length, double epsilon, const void *x, void *y,
      void *spread);
  void (*normalize_backward)(
      ck_train_pool *pool, ptrdiff_t rows, ptrdiff_t length, const void *y, const void *spread,
      const void *g, int32_t accumulate, void *dx);
  /// y[o, j, i] = sum over t of factor[j, t] * x[o, from[j, t], i]: gather, slice, resize.
  void (*taps_forward)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t results, ptrdiff_t inner,
      ptrdiff_t taps, const int32_t *from, const double *factor, const void *x, void *y);
  void (*taps_backward)(
      ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t results, ptrdiff_t inner,
      ptrdiff_t taps, const int32_t *from, const double *factor, const void *g, int32_t accumulate,
      void *dx);
} ck_train_kernels;

/// The float32 table: the best that the CPU has, or the one that the environment variable
/// QUENCH_TRAIN_ISA names, if the CPU has it.
const ck_train_kernels *ck_train_float32(void);

/// A float32 table by name; NULL when there is none or the CPU lacks it.
const ck_train_kernels *_Nullable ck_train_named(const char *name);

/// The float64 table, for checking gradients.
const ck_train_kernels *ck_train_float64(void);

/// Whether the plain table fuses multiply and add in hardware on this CPU; else it is slow.
int32_t ck_train_has_fma(void);

/// e^x, the same bits everywhere; about 1 unit in the last place of a double.
double ck_train_exp(double x);

/// The natural logarithm of a positive normal x, the same bits everywhere.
double ck_train_log(double x);

#pragma clang assume_nonnull end

#endif
