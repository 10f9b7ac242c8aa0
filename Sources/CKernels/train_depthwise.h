// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions, direct: a vector of channels at a time, the filter in registers.
// Order: one chain over the kernel's positions (forward), over all pixels of an image (weights).

#define MOST_TAPS 128

typedef struct {
  ck_train_pool *pool;
  ck_train_conv g;
  grid_t grid;
  const T *x, *w, *dy;
  T *y;
  finish_t finish;
  long rows, bands;
  int accumulate;
} depthwise_t;

static void tap_offsets(const ck_train_conv *g, long *offset) {
  long line = padded_width(g) * g->c;
  for (long k = 0; k < g->kh * g->kw; k++)
    offset[k] = k / g->kw * g->dh * line + k % g->kw * g->dw * g->c;
}

INLINE void depthwise_block(
    const depthwise_t *t, const T *band, const long *offset, T *y, long rows, long channel,
    long width, const int taps, const int whole) {
  const ck_train_conv *g = &t->g;
  V w[MOST_TAPS];
  for (int k = 0; k < taps; k++)
    w[k] = whole ? load(t->w + k * g->c + channel) : load_part(t->w + k * g->c + channel, width);
  V bias = {0}, scale = {0};
  if (t->finish.bias)
    bias = whole ? load(t->finish.bias + channel) : load_part(t->finish.bias + channel, width);
  if (t->finish.scales)
    scale = whole ? load(t->finish.scales + channel) : load_part(t->finish.scales + channel, width);
  long line = padded_width(g) * g->c;
  for (long r = 0; r < rows; r++) {
    const T *x = band + r * g->sh * line + channel;
    for (long p = 0; p < g->ow; p++, x += g->sw * g->c, y += g->y_stride) {
      V sum = {0};
      for (int k = 0; k < taps; k++) sum = __builtin_elementwise_fma(load(x + offset[k]), w[k], sum);
      if (t->finish.accumulate)
        sum = (whole ? load(y) : load_part(y, width)) + sum;
      else
        sum = finished(sum, bias, scale, &t->finish);
      if (whole)
        store(y, sum);
      else
        store_part(y, sum, width);
    }
  }
}

static T *depthwise_band(const depthwise_t *t, long image, long first, long rows, int32_t worker) {
  const ck_train_conv *g = &t->g;
  long inputs = padded_rows(g, rows), size = inputs * padded_width(g) * g->c;
  T *band = ck_train_scratch(t->pool, worker, 0, (size_t)(size + NR) * sizeof(T));
  copy_band(g, t->grid, t->x + image * g->h * g->w * g->x_stride, first * g->sh, inputs, band);
  return band;
}

static void depthwise_task(void *context, ptrdiff_t task, int32_t worker) {
  const depthwise_t *t = context;
  const ck_train_conv *g = &t->g;
  long image = task / t->bands, first = task % t->bands * t->rows;
  long rows = min_l(t->rows, g->oh - first), offset[MOST_TAPS];
  tap_offsets(g, offset);
  T *band = depthwise_band(t, image, first, rows, worker);
  T *y = t->y + ((image * g->oh + first) * g->ow) * g->y_stride;
  int taps = (int)(g->kh * g->kw);
  for (long c = 0; c < g->c; c += L) {
    long width = min_l(L, g->c - c);
    if (taps == 9 && width == L)
      depthwise_block(t, band + 0, offset, y + c, rows, c, L, 9, 1);
    else if (width == L)
      depthwise_block(t, band, offset, y + c, rows, c, L, taps, 1);
    else
      depthwise_block(t, band, offset, y + c, rows, c, width, taps, 0);
  }
}

static void depthwise_forward(
    ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
    const void *weights, const ck_train_finish *finish, void *y) {
  depthwise_t t = {.pool = pool, .g = *g, .grid = grid_of(grid), .x = x, .w = weights, .y = y,
                   .finish = finish_of(finish)};
  t.rows = band_rows(g, BAND);
  t.bands = (g->oh + t.rows - 1) / t.rows;
  ck_train_run(pool, depthwise_task, &t, g->n * t.bands);
}

// A stride above 1: each output's gradient is added to the pixels it read, in a padded image.
static void depthwise_scatter_task(void *context, ptrdiff_t image, int32_t worker) {
  const depthwise_t *t = context;
  const ck_train_conv *g = &t->g;
  long height = padded_rows(g, g->oh), width = padded_width(g), c = g->c, offset[MOST_TAPS];
  tap_offsets(g, offset);
  size_t bytes = (size_t)(height * width * c + NR) * sizeof(T);
  T *padded = ck_train_scratch(t->pool, worker, 0, bytes);
  memset(padded, 0, bytes);
  int taps = (int)(g->kh * g->kw);
  const T *dy = t->dy + image * g->oh * g->ow * g->y_stride;
  for (long r = 0; r < g->oh; r++)
    for (long p = 0; p < g->ow; p++, dy += g->y_stride) {
      T *to = padded + (r * g->sh * width + p * g->sw) * c;
      for (int k = 0; k < taps; k++) {
        T *restrict d = to + offset[k];
        const T *restrict w = t->w + k * c;
        for (long i = 0; i + L <= c; i += L)
          store(d + i, __builtin_elementwise_fma(load(dy + i), load(w + i), load(d + i)));
        long rest = c / L * L;
        if (rest < c) {
          V sum = __builtin_elementwise_fma(
              load_part(dy + rest, c - rest), load_part(w + rest, c - rest), load(d + rest));
          store_part(d + rest, sum, c - rest);
        }
      }
    }
  T *dx = t->y + image * g->h * g->w * g->x_stride;
  for (long y = 0; y < g->h; y++)
    for (long x = 0; x < g->w; x++, dx += g->x_stride) {
      long py = y + g->top, px = x + g->left;
      int inside = py >= 0 && py < height && px >= 0 && px < width;
      const T *from = padded + (inside ? (py * width + px) * c : 0);
      if (t->accumulate) {
        if (inside)
          for (long i = 0; i < c; i++) dx[i] += from[i];
      } else {
        for (long i = 0; i < c; i++) dx[i] = inside ? from[i] : 0;
      }
    }
}

static void depthwise_input(
    ck_train_pool *pool, const ck_train_conv *g, const void *dy, const void *weights,
    int32_t accumulate, void *dx) {
  if (g->sh == 1 && g->sw == 1) {
    // The transpose of a stride-1 convolution is one with the filter turned round.
    long taps = g->kh * g->kw, c = g->c;
    T *turned = ck_train_shared(pool, 1, (size_t)(taps * c) * sizeof(T));
    for (long k = 0; k < taps; k++)
      memcpy(turned + k * c, (const T *)weights + (taps - 1 - k) * c, (size_t)c * sizeof(T));
    ck_train_conv b = *g;
    b.h = g->oh, b.w = g->ow, b.x_stride = g->y_stride;
    b.oh = g->h, b.ow = g->w, b.y_stride = g->x_stride;
    b.top = (g->kh - 1) * g->dh - g->top, b.left = (g->kw - 1) * g->dw - g->left;
    ck_train_grid off = {0};
    ck_train_finish finish = {
        .low = -INFINITY, .high = INFINITY, .accumulate = accumulate};
    depthwise_forward(pool, &b, &off, dy, turned, &finish, dx);
    return;
  }
  depthwise_t t = {.pool = pool, .g = *g, .w = weights, .dy = dy, .y = dx,
                   .accumulate = accumulate};
  ck_train_run(pool, depthwise_scatter_task, &t, g->n);
}

INLINE void depthwise_gradient_block(
    const ck_train_conv *g, const T *band, const T *dy, const long *offset, long rows,
    long width, T *to, const int taps, const int whole) {
  V sum[MOST_TAPS];
  for (int k = 0; k < taps; k++) sum[k] = whole ? load(to + k * g->c) : load_part(to + k * g->c, width);
  long line = padded_width(g) * g->c;
  for (long r = 0; r < rows; r++) {
    const T *x = band + r * g->sh * line;
    for (long p = 0; p < g->ow; p++, x += g->sw * g->c, dy += g->y_stride) {
      V d = whole ? load(dy) : load_part(dy, width);
      for (int k = 0; k < taps; k++) sum[k] = __builtin_elementwise_fma(load(x + offset[k]), d, sum[k]);
    }
  }
  for (int k = 0; k < taps; k++) {
    if (whole)
      store(to + k * g->c, sum[k]);
    else
      store_part(to + k * g->c, sum[k], width);
  }
}

static void depthwise_gradient_task(void *context, ptrdiff_t image, int32_t worker) {
  const depthwise_t *t = context;
  const ck_train_conv *g = &t->g;
  long offset[MOST_TAPS];
  tap_offsets(g, offset);
  int taps = (int)(g->kh * g->kw);
  T *sums = t->y + image * taps * g->c;
  memset(sums, 0, (size_t)(taps * g->c) * sizeof(T));
  for (long first = 0; first < g->oh; first += t->rows) {
    long rows = min_l(t->rows, g->oh - first);
    T *band = depthwise_band(t, image, first, rows, worker);
    const T *dy = t->dy + ((image * g->oh + first) * g->ow) * g->y_stride;
    for (long c = 0; c < g->c; c += L) {
      long width = min_l(L, g->c - c);
      if (taps == 9 && width == L)
        depthwise_gradient_block(g, band + c, dy + c, offset, rows, L, sums + c, 9, 1);
      else
        depthwise_gradient_block(
            g, band + c, dy + c, offset, rows, width, sums + c, taps, width == L);
    }
  }
}

static void depthwise_weights(
    ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
    const void *dy, void *gradient) {
  long size = g->kh * g->kw * g->c;
  T *partial = ck_train_shared(pool, 1, (size_t)(g->n * size) * sizeof(T)), *to = gradient;
  depthwise_t t = {.pool = pool, .g = *g, .grid = grid_of(grid), .x = x, .dy = dy, .y = partial};
  t.rows = band_rows(g, BAND);
  ck_train_run(pool, depthwise_gradient_task, &t, g->n);
  for (long i = 0; i < size; i++) to[i] = 0;
  for (long image = 0; image < g->n; image++)
    for (long i = 0; i < size; i++) to[i] += partial[image * size + i];
}
