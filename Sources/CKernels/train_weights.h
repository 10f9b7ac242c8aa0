// SPDX-License-Identifier: Apache-2.0
// Weights between ONNX's layout and the packed ones, through the fake quantizer.

static grid_t channel_grid(const ck_train_weights *w, long channel) {
  grid_t g = {0, (T)w->low, (T)w->high, w->codes};
  if (w->scale_count > 0) g.scale = ((const T *)w->scales)[w->scale_count == 1 ? 0 : channel];
  return g;
}

// Whether a channel's elements (i, k) are neighbors in this order.
static int is_dense(const ck_train_weights *w) {
  return (w->sk == 1 || w->k == 1) && (w->si == w->k || w->i == 1);
}

// The fake quantized elements (first...first+count, all k) of one channel to t[i][k]; as much room
// behind them is used too.
static void quantized_part(const ck_train_weights *w, long o, long first, long count, T *t) {
  const T *from = (const T *)w->values + o * w->so + first * w->si;
  if (!is_dense(w)) {
    T *copy = t + count * w->k;
    for (long i = 0; i < count; i++)
      for (long k = 0; k < w->k; k++) copy[i * w->k + k] = from[i * w->si + k * w->sk];
    from = copy;
  }
  if (w->scales_follow_i)
    for (long i = 0; i < count; i++)
      quantize_run(from + i * w->k, w->k, channel_grid(w, first + i), t + i * w->k);
  else
    quantize_run(from, count * w->k, channel_grid(w, o), t);
}

typedef struct {
  ck_train_pool *pool;
  const ck_train_weights *w;
  const ck_train_conv *g;
  T *to;
} pack_t;

// Input channels of a channel that are quantized at a time, so that what is written stays near.
static long part_of(const ck_train_weights *w) { return max_l(1, 64 / w->k); }

// A task is a panel of output channels; blocks of input channels outside, output channels inside.
static void pack_forward_task(void *context, ptrdiff_t panel, int32_t worker) {
  const pack_t *t = context;
  const ck_train_weights *w = t->w;
  long j = panel * NR, width = min_l(NR, w->o - j), wide = (width + L - 1) / L * L;
  long part = part_of(w);
  T *to = t->to + j * w->i * w->k;
  T *values = ck_train_scratch(t->pool, worker, 0, (size_t)(2 * part * w->k) * sizeof(T));
  if (width < wide) memset(to, 0, (size_t)(w->i * w->k * wide) * sizeof(T));
  for (long first = 0; first < w->i; first += part) {
    long count = min_l(part, w->i - first);
    for (long c = 0; c < width; c++) {
      quantized_part(w, j + c, first, count, values);
      for (long k = 0; k < w->k; k++)
        for (long i = 0; i < count; i++)
          to[(k * w->i + first + i) * wide + c] = values[i * w->k + k];
    }
  }
}

static void weights_pack_forward(ck_train_pool *pool, const ck_train_weights *w, void *packed) {
  pack_t t = {pool, w, NULL, packed};
  ck_train_run(pool, pack_forward_task, &t, (w->o + NR - 1) / NR);
}

// A task is a panel of input channels and some output channels; phases inside, as `conv_input`
// reads them.
#define PACK_CHANNELS 32L

static void pack_input_task(void *context, ptrdiff_t task, int32_t worker) {
  const pack_t *t = context;
  const ck_train_weights *w = t->w;
  const ck_train_conv *g = t->g;
  long pieces = (w->o + PACK_CHANNELS - 1) / PACK_CHANNELS, begin = task % pieces * PACK_CHANNELS;
  long j = task / pieces * NR, width = min_l(NR, w->i - j), wide = (width + L - 1) / L * L;
  long end = min_l(w->o, begin + PACK_CHANNELS);
  T *values = ck_train_scratch(t->pool, worker, 0, (size_t)(2 * NR * w->k) * sizeof(T));
  phase_t *down = ck_train_scratch(
      t->pool, worker, 1, (size_t)(g->sh + g->sw) * sizeof(phase_t)), *across = down + g->sh;
  for (long p = 0; p < g->sh; p++) phase_of(g->kh, g->sh, g->dh, p, down + p);
  for (long p = 0; p < g->sw; p++) phase_of(g->kw, g->sw, g->dw, p, across + p);
  for (long o = begin; o < end; o++) {
    quantized_part(w, o, j, width, values);
    T *to = t->to;
    for (long phase = 0; phase < g->sh * g->sw; phase++) {
      const phase_t *v = down + phase / g->sw, *h = across + phase % g->sw;
      long taps = v->count * h->count;
      for (long s = 0; s < taps; s++) {
        const T *from = values + v->at[s / h->count] * g->kw + h->at[s % h->count];
        T *row = to + j * taps * w->o + (s * w->o + o) * wide;
        for (long i = 0; i < width; i++) row[i] = from[i * w->k];
        for (long i = width; i < wide; i++) row[i] = 0;
      }
      to += packed_count(taps * w->o, w->i);
    }
  }
}

static void weights_pack_input(
    ck_train_pool *pool, const ck_train_weights *w, const ck_train_conv *g, void *packed) {
  pack_t t = {pool, w, g, packed};
  long pieces = (w->o + PACK_CHANNELS - 1) / PACK_CHANNELS;
  ck_train_run(pool, pack_input_task, &t, (w->i + NR - 1) / NR * pieces);
}

// Depthwise filters, [k][o]; few, so that they are no work to share.
static void weights_pack_depthwise(ck_train_pool *pool, const ck_train_weights *w, void *packed) {
  T *to = packed, *values = ck_train_scratch(pool, 0, 0, (size_t)(2 * w->k) * sizeof(T));
  for (long o = 0; o < w->o; o++) {
    quantized_part(w, o, 0, 1, values);
    for (long k = 0; k < w->k; k++) to[k * w->o + o] = values[k];
  }
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

#define LANES 16

// gradient += masked d, element by element. The sum of ds: element n in lane n mod 16, in double,
// the lanes added in order.
static double through_run(
    const T *restrict x, const T *restrict d, long count, grid_t g, T *restrict gradient) {
  double sum[LANES] = {0}, total = 0;
  long n = 0;
  for (; n + LANES <= count; n += LANES) {
    T part[LANES];
    for (int i = 0; i < LANES; i++) gradient[n + i] += through(x[n + i], d[n + i], g, &part[i]);
    for (int i = 0; i < LANES; i++) sum[i] += (double)part[i];
  }
  for (int i = 0; n < count; n++, i++) {
    T ds;
    gradient[n] += through(x[n], d[n], g, &ds);
    sum[i] += (double)ds;
  }
  for (int i = 0; i < LANES; i++) total += sum[i];
  return total;
}

typedef struct {
  ck_train_pool *pool;
  const ck_train_weights *w;
  const T *d;
  T *gradient;
  double *scale_gradient;
} weights_gradient_t;

// A task is an output channel. Its gradient is brought into ONNX's order of i, k.
static void weights_gradient_task(void *context, ptrdiff_t o, int32_t worker) {
  const weights_gradient_t *t = context;
  const ck_train_weights *w = t->w;
  grid_t g = channel_grid(w, o);
  long count = w->i * w->k;
  const T *d = t->d + o * count, *x = (const T *)w->values + o * w->so;
  T *to = t->gradient + o * w->so;
  T *turned = ck_train_scratch(t->pool, worker, 0, (size_t)(3 * count) * sizeof(T));
  if (w->k > 1 && w->i > 1) {
    for (long i = 0; i < w->i; i++)
      for (long k = 0; k < w->k; k++) turned[i * w->k + k] = d[k * w->i + i];
    d = turned;
  }
  if (is_dense(w)) {
    if (g.scale != 0)
      t->scale_gradient[o] = through_run(x, d, count, g, to);
    else
      for (long n = 0; n < count; n++) to[n] += d[n];
    return;
  }
  T *values = turned + count, *slopes = values + count;
  for (long i = 0; i < w->i; i++)
    for (long k = 0; k < w->k; k++) values[i * w->k + k] = x[i * w->si + k * w->sk];
  memset(slopes, 0, (size_t)count * sizeof(T));
  if (g.scale != 0) {
    t->scale_gradient[o] = through_run(values, d, count, g, slopes);
    d = slopes;
  }
  for (long i = 0; i < w->i; i++)
    for (long k = 0; k < w->k; k++) to[i * w->si + k * w->sk] += d[i * w->k + k];
}

static void weights_gradient(
    ck_train_pool *pool, const ck_train_weights *w, const void *dense, void *gradient,
    double *scale_gradient) {
  weights_gradient_t t = {pool, w, dense, gradient, scale_gradient};
  memset(scale_gradient, 0, (size_t)w->o * sizeof(double));
  ck_train_run(pool, weights_gradient_task, &t, w->o);
}
