// SPDX-License-Identifier: Apache-2.0
// Sums over an axis, pooling, softmax, normalization, gathering. Sums run over the axis in order;
// a long outermost axis is cut into chunks of a fixed length first.

#define SUM_ROWS 512L

typedef struct {
  long outer, reduced, inner, chunks, results, taps;
  const T *x, *g;
  T *y, *partial;
  T factor;
  double epsilon;
  int accumulate;
  const int32_t *from;
  const double *factors;
} axis_t;

static void sum_task(void *context, ptrdiff_t task, int32_t worker) {
  const axis_t *t = context;
  (void)worker;
  long outer = task / t->chunks, chunk = task % t->chunks, inner = t->inner;
  long first = chunk * SUM_ROWS, last = t->chunks == 1 ? t->reduced : min_l(t->reduced, first + SUM_ROWS);
  const T *x = t->x + (outer * t->reduced + first) * inner;
  T *restrict y = t->partial + task * inner;
  if (inner == 1) {
    T lanes[LANES] = {0}, total = 0;
    long n = last - first, i = 0;
    for (; i + LANES <= n; i += LANES)
      for (int l = 0; l < LANES; l++) lanes[l] += x[i + l];
    for (int l = 0; i + l < n; l++) lanes[l] += x[i + l];
    for (int l = 0; l < LANES; l++) total += lanes[l];
    *y = total;
    return;
  }
  for (long i = 0; i < inner; i++) y[i] = 0;
  for (long r = first; r < last; r++, x += inner)
    for (long i = 0; i < inner; i++) y[i] += x[i];
}

static void sum(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t reduced, ptrdiff_t inner, double factor,
    const void *x, int32_t accumulate, void *y) {
  long chunks = outer < 8 && reduced > SUM_ROWS ? (reduced + SUM_ROWS - 1) / SUM_ROWS : 1;
  T *partial = ck_train_shared(pool, 2, (size_t)(outer * chunks * inner) * sizeof(T)), *to = y;
  axis_t t = {.outer = outer, .reduced = reduced, .inner = inner, .chunks = chunks, .x = x,
              .partial = partial};
  ck_train_run(pool, sum_task, &t, outer * chunks);
  for (long o = 0; o < outer; o++)
    for (long i = 0; i < inner; i++) {
      T total = 0;
      for (long c = 0; c < chunks; c++) total += partial[(o * chunks + c) * inner + i];
      total *= (T)factor;
      to[o * inner + i] = accumulate ? to[o * inner + i] + total : total;
    }
}

static void spread_task(void *context, ptrdiff_t outer, int32_t worker) {
  const axis_t *t = context;
  (void)worker;
  const T *restrict g = t->g + outer * t->inner;
  T *restrict y = t->y + outer * t->reduced * t->inner;
  for (long r = 0; r < t->reduced; r++, y += t->inner) {
    if (t->accumulate)
      for (long i = 0; i < t->inner; i++) y[i] += g[i] * t->factor;
    else
      for (long i = 0; i < t->inner; i++) y[i] = g[i] * t->factor;
  }
}

static void spread(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t reduced, ptrdiff_t inner, double factor,
    const void *g, int32_t accumulate, void *dx) {
  axis_t t = {.reduced = reduced, .inner = inner, .g = g, .y = dx, .factor = (T)factor,
              .accumulate = accumulate};
  ck_train_run(pool, spread_task, &t, outer);
}

typedef struct {
  const ck_train_window *g;
  const T *x, *dy;
  T *y;
  int32_t *position;
  const int32_t *winner;
  int accumulate;
} window_t;

static void max_pool_task(void *context, ptrdiff_t row, int32_t worker) {
  const window_t *t = context;
  (void)worker;
  const ck_train_window *g = t->g;
  long image = row / g->oh, oy = row % g->oh, c = g->c;
  const T *x = t->x + image * g->h * g->w * c;
  for (long ox = 0; ox < g->ow; ox++) {
    T *restrict y = t->y + (row * g->ow + ox) * c;
    int32_t *restrict position = t->position + (row * g->ow + ox) * c;
    int empty = 1;
    for (long ky = 0; ky < g->kh; ky++) {
      long iy = oy * g->sh - g->top + ky * g->dh;
      if (iy < 0 || iy >= g->h) continue;
      for (long kx = 0; kx < g->kw; kx++) {
        long ix = ox * g->sw - g->left + kx * g->dw;
        if (ix < 0 || ix >= g->w) continue;
        int32_t at = (int32_t)((iy * g->w + ix) * c);
        const T *restrict v = x + at;
        for (long i = 0; i < c; i++) {
          // NaN wins, so that divergence is seen.
          int better = empty | (v[i] > y[i]) | (v[i] != v[i]);
          y[i] = better ? v[i] : y[i];
          position[i] = better ? at + (int32_t)i : position[i];
        }
        empty = 0;
      }
    }
    if (empty)
      for (long i = 0; i < c; i++) y[i] = 0, position[i] = -1;
  }
}

static void max_pool_forward(
    ck_train_pool *pool, const ck_train_window *g, const void *x, void *y, int32_t *position) {
  window_t t = {.g = g, .x = x, .y = y, .position = position};
  ck_train_run(pool, max_pool_task, &t, g->n * g->oh);
}

static void max_pool_backward_task(void *context, ptrdiff_t image, int32_t worker) {
  const window_t *t = context;
  (void)worker;
  const ck_train_window *g = t->g;
  long size = g->h * g->w * g->c, outputs = g->oh * g->ow * g->c;
  T *y = t->y + image * size;
  if (!t->accumulate) memset(y, 0, (size_t)size * sizeof(T));
  for (long i = 0; i < outputs; i++) {
    int32_t at = t->winner[image * outputs + i];
    if (at >= 0) y[at] += t->dy[image * outputs + i];
  }
}

static void max_pool_backward(
    ck_train_pool *pool, const ck_train_window *g, const int32_t *position, const void *dy,
    int32_t accumulate, void *dx) {
  window_t t = {.g = g, .dy = dy, .y = dx, .winner = position, .accumulate = accumulate};
  ck_train_run(pool, max_pool_backward_task, &t, g->n);
}

static long window_size(const ck_train_window *g, long oy, long ox) {
  if (g->counts_padding) return g->kh * g->kw;
  long rows = 0, columns = 0;
  for (long k = 0; k < g->kh; k++) {
    long y = oy * g->sh - g->top + k * g->dh;
    rows += y >= 0 && y < g->h;
  }
  for (long k = 0; k < g->kw; k++) {
    long x = ox * g->sw - g->left + k * g->dw;
    columns += x >= 0 && x < g->w;
  }
  return max_l(1, rows * columns);
}

static void average_pool_task(void *context, ptrdiff_t image, int32_t worker) {
  const window_t *t = context;
  (void)worker;
  const ck_train_window *g = t->g;
  long c = g->c, inputs = g->h * g->w * c, outputs = g->oh * g->ow * c;
  int forward = t->x != NULL;
  if (!forward && !t->accumulate) memset(t->y + image * inputs, 0, (size_t)inputs * sizeof(T));
  for (long oy = 0; oy < g->oh; oy++)
    for (long ox = 0; ox < g->ow; ox++) {
      long out = image * outputs + (oy * g->ow + ox) * c;
      T size = (T)window_size(g, oy, ox);
      if (forward)
        for (long i = 0; i < c; i++) t->y[out + i] = 0;
      for (long ky = 0; ky < g->kh; ky++) {
        long iy = oy * g->sh - g->top + ky * g->dh;
        if (iy < 0 || iy >= g->h) continue;
        for (long kx = 0; kx < g->kw; kx++) {
          long ix = ox * g->sw - g->left + kx * g->dw;
          if (ix < 0 || ix >= g->w) continue;
          long at = image * inputs + (iy * g->w + ix) * c;
          if (forward)
            for (long i = 0; i < c; i++) t->y[out + i] += t->x[at + i];
          else
            for (long i = 0; i < c; i++) t->y[at + i] += t->dy[out + i] / size;
        }
      }
      if (forward)
        for (long i = 0; i < c; i++) t->y[out + i] /= size;
    }
}

static void average_pool_forward(
    ck_train_pool *pool, const ck_train_window *g, const void *x, void *y) {
  window_t t = {.g = g, .x = x, .y = y};
  ck_train_run(pool, average_pool_task, &t, g->n);
}

static void average_pool_backward(
    ck_train_pool *pool, const ck_train_window *g, const void *dy, int32_t accumulate, void *dx) {
  window_t t = {.g = g, .dy = dy, .y = dx, .accumulate = accumulate};
  ck_train_run(pool, average_pool_task, &t, g->n);
}

static void softmax_task(void *context, ptrdiff_t outer, int32_t worker) {
  const axis_t *t = context;
  (void)worker;
  long n = t->reduced, step = t->inner;
  for (long i = 0; i < step; i++) {
    long at = outer * n * step + i;
    if (t->g) {
      T dot = 0;
      for (long r = 0; r < n; r++) dot += t->g[at + r * step] * t->x[at + r * step];
      for (long r = 0; r < n; r++) {
        T d = (t->g[at + r * step] - dot) * t->x[at + r * step];
        t->y[at + r * step] = t->accumulate ? t->y[at + r * step] + d : d;
      }
      continue;
    }
    T most = t->x[at], total = 0;
    for (long r = 1; r < n; r++) most = t->x[at + r * step] > most ? t->x[at + r * step] : most;
    for (long r = 0; r < n; r++) {
      T e = (T)ck_train_exp((double)(t->x[at + r * step] - most));
      t->y[at + r * step] = e;
      total += e;
    }
    for (long r = 0; r < n; r++) t->y[at + r * step] /= total;
  }
}

static void softmax_forward(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t inner, const void *x,
    void *y) {
  axis_t t = {.reduced = length, .inner = inner, .x = x, .y = y};
  ck_train_run(pool, softmax_task, &t, outer);
}

static void softmax_backward(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t inner, const void *y,
    const void *g, int32_t accumulate, void *dx) {
  axis_t t = {.reduced = length, .inner = inner, .x = y, .g = g, .y = dx,
              .accumulate = accumulate};
  ck_train_run(pool, softmax_task, &t, outer);
}

static void normalize_task(void *context, ptrdiff_t row, int32_t worker) {
  const axis_t *t = context;
  (void)worker;
  long n = t->reduced;
  const T *x = t->x + row * n;
  T *y = t->y + row * n;
  if (t->g) {
    const T *g = t->g + row * n;
    T mean = 0, dot = 0, spread = t->partial[row];
    for (long i = 0; i < n; i++) mean += g[i];
    for (long i = 0; i < n; i++) dot += g[i] * x[i];
    mean /= (T)n, dot /= (T)n;
    for (long i = 0; i < n; i++) {
      T d = (g[i] - mean - x[i] * dot) * spread;
      y[i] = t->accumulate ? y[i] + d : d;
    }
    return;
  }
  T mean = 0, square = 0;
  for (long i = 0; i < n; i++) mean += x[i];
  mean /= (T)n;
  for (long i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
  T spread = 1 / SQRT(square / (T)n + (T)t->epsilon);
  for (long i = 0; i < n; i++) y[i] = (x[i] - mean) * spread;
  t->partial[row] = spread;
}

static void normalize_forward(
    ck_train_pool *pool, ptrdiff_t rows, ptrdiff_t length, double epsilon, const void *x, void *y,
    void *spread) {
  axis_t t = {.reduced = length, .epsilon = epsilon, .x = x, .y = y, .partial = spread};
  ck_train_run(pool, normalize_task, &t, rows);
}

static void normalize_backward(
    ck_train_pool *pool, ptrdiff_t rows, ptrdiff_t length, const void *y, const void *spread,
    const void *g, int32_t accumulate, void *dx) {
  axis_t t = {.reduced = length, .x = y, .g = g, .y = dx, .partial = (T *)(uintptr_t)spread,
              .accumulate = accumulate};
  ck_train_run(pool, normalize_task, &t, rows);
}

static void taps_task(void *context, ptrdiff_t outer, int32_t worker) {
  const axis_t *t = context;
  (void)worker;
  long inner = t->inner;
  long whole = outer * t->reduced * inner, part = outer * t->results * inner;
  if (!t->g) {
    for (long j = 0; j < t->results; j++) {
      T *restrict y = t->y + part + j * inner;
      for (long i = 0; i < inner; i++) y[i] = 0;
      for (long k = 0; k < t->taps; k++) {
        const T *restrict x = t->x + whole + t->from[j * t->taps + k] * inner;
        T factor = (T)t->factors[j * t->taps + k];
        if (factor == 0) continue;
        for (long i = 0; i < inner; i++) y[i] += factor * x[i];
      }
    }
    return;
  }
  T *dx = t->y + whole;
  if (!t->accumulate) memset(dx, 0, (size_t)(t->reduced * inner) * sizeof(T));
  for (long j = 0; j < t->results; j++)
    for (long k = 0; k < t->taps; k++) {
      T *restrict to = dx + t->from[j * t->taps + k] * inner;
      const T *restrict g = t->g + part + j * inner;
      T factor = (T)t->factors[j * t->taps + k];
      if (factor == 0) continue;
      for (long i = 0; i < inner; i++) to[i] += factor * g[i];
    }
}

static void taps_forward(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t results, ptrdiff_t inner,
    ptrdiff_t taps, const int32_t *from, const double *factor, const void *x, void *y) {
  axis_t t = {.reduced = length, .results = results, .inner = inner, .taps = taps, .from = from,
              .factors = factor, .x = x, .y = y};
  ck_train_run(pool, taps_task, &t, outer);
}

static void taps_backward(
    ck_train_pool *pool, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t results, ptrdiff_t inner,
    ptrdiff_t taps, const int32_t *from, const double *factor, const void *g, int32_t accumulate,
    void *dx) {
  axis_t t = {.reduced = length, .results = results, .inner = inner, .taps = taps, .from = from,
              .factors = factor, .g = g, .y = dx, .accumulate = accumulate};
  ck_train_run(pool, taps_task, &t, outer);
}
