// SPDX-License-Identifier: Apache-2.0
// Weights between ONNX's layout and the dense one, through the fake quantizer. A task is an output
// channel.

typedef struct {
  long o, i, k, so, si, sk;
  const T *w, *scales;
  long scale_count;
  T low, high;
  T *dense;
  const T *d;
  T *gradient;
  double *scale_gradient;
} weight_copy_t;

static grid_t channel_grid(const weight_copy_t *t, long o) {
  grid_t g = {0, t->low, t->high};
  if (t->scale_count > 0) g.scale = t->scales[t->scale_count == 1 ? 0 : o];
  return g;
}

static void weights_make_task(void *context, ptrdiff_t o, int32_t worker) {
  const weight_copy_t *t = context;
  (void)worker;
  grid_t g = channel_grid(t, o);
  for (long k = 0; k < t->k; k++) {
    T *restrict to = t->dense + (o * t->k + k) * t->i;
    const T *restrict from = t->w + o * t->so + k * t->sk;
    if (g.scale == 0)
      for (long i = 0; i < t->i; i++) to[i] = from[i * t->si];
    else
      for (long i = 0; i < t->i; i++) to[i] = fake_quantized(from[i * t->si], g);
  }
}

static void weights_make(
    ck_train_pool *pool, ptrdiff_t o, ptrdiff_t i, ptrdiff_t k, ptrdiff_t so, ptrdiff_t si,
    ptrdiff_t sk, const void *w, const void *scales, ptrdiff_t scale_count, double low, double high,
    void *dense) {
  weight_copy_t t = {.o = o, .i = i, .k = k, .so = so, .si = si, .sk = sk, .w = w,
                     .scales = scales, .scale_count = scale_count, .low = (T)low, .high = (T)high,
                     .dense = dense};
  ck_train_run(pool, weights_make_task, &t, o);
}

// The straight-through gradient and the scale's. The test is on the rounded code, so the value is
// limited to one code beyond the range before it is rounded, which keeps rounding exact.
//   inside: dx = q, ds = q (code - v); below: ds = q low; above: ds = q high.
// Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, equation 3; the mask as
// PyTorch's learnable fake quantizer has it.
INLINE T through(T x, T q, grid_t g, T *ds) {
  T v = x / g.scale;
  T limited = v < g.low - 1 ? g.low - 1 : v;
  limited = limited > g.high + 1 ? g.high + 1 : limited;
  T code = (limited + MAGIC) - MAGIC;
  int below = code < g.low, above = code > g.high;
  T slope = below ? g.low : above ? g.high : code - v;
  *ds = q * slope;
  return below | above ? 0 : q;
}

static void weights_gradient_task(void *context, ptrdiff_t o, int32_t worker) {
  const weight_copy_t *t = context;
  (void)worker;
  grid_t g = channel_grid(t, o);
  double total = 0;
  for (long k = 0; k < t->k; k++) {
    const T *d = t->d + (o * t->k + k) * t->i;
    const T *w = t->w + o * t->so + k * t->sk;
    T *to = t->gradient + o * t->so + k * t->sk;
    if (g.scale == 0) {
      for (long i = 0; i < t->i; i++) to[i * t->si] += d[i];
      continue;
    }
    for (long i = 0; i < t->i; i++) {
      T ds;
      to[i * t->si] += through(w[i * t->si], d[i], g, &ds);
      total += (double)ds;
    }
  }
  if (t->scale_gradient) t->scale_gradient[o] = total;
}

static void weights_gradient(
    ck_train_pool *pool, ptrdiff_t o, ptrdiff_t i, ptrdiff_t k, ptrdiff_t so, ptrdiff_t si,
    ptrdiff_t sk, const void *w, const void *scales, ptrdiff_t scale_count, double low, double high,
    const void *dense, void *gradient, double *scale_gradient) {
  weight_copy_t t = {.o = o, .i = i, .k = k, .so = so, .si = si, .sk = sk, .w = w,
                     .scales = scales, .scale_count = scale_count, .low = (T)low, .high = (T)high,
                     .d = dense, .gradient = gradient, .scale_gradient = scale_gradient};
  ck_train_run(pool, weights_gradient_task, &t, o);
}
