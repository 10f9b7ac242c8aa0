// SPDX-License-Identifier: Apache-2.0
// Dense convolutions. A task is a band of output rows of one image: its input rows are padded and
// fake-quantized into scratch that stays in the cache, then multiplied without an im2col copy.

#define BAND 24576L  // elements of a band of padded input, about

typedef struct {
  T scale, low, high;
  int codes;
} grid_t;

static grid_t grid_of(const ck_train_grid *g) {
  grid_t r = {(T)g->scale, (T)g->low, (T)g->high, g->codes};
  return r;
}

// Adding and taking away 1.5 * 2^(mantissa bits) rounds half to even; the limits come first.
INLINE T code_of(T x, grid_t g) {
  T v = x / g.scale;
  v = v < g.low ? g.low : v;
  v = v > g.high ? g.high : v;
  return (v + MAGIC) - MAGIC;
}

static void quantize_run(const T *restrict x, long count, grid_t g, T *restrict y) {
  if (g.scale == 0) {
    memcpy(y, x, (size_t)count * sizeof(T));
  } else if (g.codes) {
    for (long i = 0; i < count; i++) y[i] = code_of(x[i], g);
  } else {
    for (long i = 0; i < count; i++) y[i] = code_of(x[i], g) * g.scale;
  }
}

static long min_l(long a, long b) { return a < b ? a : b; }
static long max_l(long a, long b) { return a > b ? a : b; }

static long padded_width(const ck_train_conv *g) { return (g->ow - 1) * g->sw + (g->kw - 1) * g->dw + 1; }
static long padded_rows(const ck_train_conv *g, long rows) {
  return (rows - 1) * g->sh + (g->kh - 1) * g->dh + 1;
}

// Output rows of a band.
static long band_rows(const ck_train_conv *g, long elements) {
  long line = padded_width(g) * g->c, rows = elements / max_l(1, line * g->sh);
  return max_l(1, min_l(g->oh, rows));
}

// Padded input rows from..from+rows, [rows][padded width][c].
static void copy_band(
    const ck_train_conv *g, grid_t grid, const T *image, long from, long rows, T *to) {
  long width = padded_width(g), c = g->c;
  long first = min_l(width, max_l(0, g->left));                 // columns of zeros before
  long last = max_l(first, min_l(width, g->w + g->left));        // and from here on
  for (long r = 0; r < rows; r++, to += width * c) {
    long y = from + r - g->top;
    if (y < 0 || y >= g->h) {
      memset(to, 0, (size_t)(width * c) * sizeof(T));
      continue;
    }
    memset(to, 0, (size_t)(first * c) * sizeof(T));
    const T *x = image + (y * g->w + first - g->left) * g->x_stride;
    if (g->x_stride == c)
      quantize_run(x, (last - first) * c, grid, to + first * c);
    else
      for (long p = first; p < last; p++, x += g->x_stride) quantize_run(x, c, grid, to + p * c);
    memset(to + last * c, 0, (size_t)((width - last) * c) * sizeof(T));
  }
}

// How a band of input lies in memory.
typedef struct {
  int direct;  // the tensor itself
  long pixel, line;
  runs_t runs;
} view_t;

#define MOST_RUNS 1024

static void set_runs(view_t *v, const ck_train_conv *g, long *offset) {
  int joined = (v->pixel == g->c && g->dw == 1) || g->kw == 1;
  v->runs = (runs_t){joined ? g->kh : g->kh * g->kw, joined ? g->kw * g->c : g->c, offset};
  for (long s = 0; s < v->runs.segments && s < MOST_RUNS; s++)
    offset[s] = joined ? s * g->dh * v->line
                       : s / g->kw * g->dh * v->line + s % g->kw * g->dw * v->pixel;
}

// Bands copied to scratch.
static view_t copied_view(const ck_train_conv *g, long *offset) {
  view_t v = {.direct = 0, .pixel = g->c, .line = padded_width(g) * g->c};
  set_runs(&v, g, offset);
  return v;
}

// Bands where they are, if they need neither padding nor quantizing.
static view_t view_of(const ck_train_conv *g, const ck_train_grid *grid, long *offset) {
  int direct = grid->scale == 0 && g->top == 0 && g->left == 0 && padded_width(g) <= g->w &&
               padded_rows(g, g->oh) <= g->h;
  if (!direct) return copied_view(g, offset);
  view_t v = {.direct = 1, .pixel = g->x_stride, .line = g->w * g->x_stride};
  set_runs(&v, g, offset);
  return v;
}

// A 1x1 convolution sees one tall image, so that bands need not end with an image.
static ck_train_conv flattened(const ck_train_conv *g) {
  ck_train_conv r = *g;
  if (g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 && g->top == 0 && g->left == 0 &&
      g->oh == g->h && g->ow == g->w) {
    r.h = r.oh = g->n * g->h;
    r.n = 1;
  }
  return r;
}

typedef struct {
  ck_train_pool *pool;
  ck_train_conv g;
  grid_t grid;
  const T *x, *packed;
  T *y;
  finish_t finish;
  view_t view;
  long rows, bands;
} forward_t;

static void forward_task(void *context, ptrdiff_t task, int32_t worker) {
  const forward_t *t = context;
  const ck_train_conv *g = &t->g;
  long image = task / t->bands, first = task % t->bands * t->rows;
  long rows = min_l(t->rows, g->oh - first), width = g->ow;
  const T *x = t->x + image * g->h * g->w * g->x_stride;
  if (t->view.direct) {
    x += first * g->sh * t->view.line;
  } else {
    long inputs = padded_rows(g, rows);
    T *band = ck_train_scratch(t->pool, worker, 0, (size_t)(inputs * t->view.line) * sizeof(T));
    copy_band(g, t->grid, x, first * g->sh, inputs, band);
    x = band;
  }
  const T **a = ck_train_scratch(t->pool, worker, 1, (size_t)(2 * rows * width) * sizeof(T *));
  T **c = (T **)(a + rows * width), *y = t->y + (image * g->oh + first) * width * g->y_stride;
  for (long r = 0; r < rows; r++)
    for (long p = 0; p < width; p++) {
      a[r * width + p] = x + r * g->sh * t->view.line + p * g->sw * t->view.pixel;
      c[r * width + p] = y + (r * width + p) * g->y_stride;
    }
  multiply(a, rows * width, &t->view.runs, t->packed, g->o, c, &t->finish);
}

static void conv_forward(
    ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
    const void *packed, const ck_train_finish *finish, void *y) {
  long offset[MOST_RUNS];
  forward_t t = {.pool = pool, .g = flattened(g), .grid = grid_of(grid), .x = x, .packed = packed,
                 .y = y, .finish = finish_of(finish)};
  t.view = view_of(&t.g, grid, offset);
  t.rows = band_rows(&t.g, BAND);
  t.bands = (t.g.oh + t.rows - 1) / t.rows;
  ck_train_run(pool, forward_task, &t, t.g.n * t.bands);
}

// The input's gradient. Along an axis, the padded input pixel stride * q + phase gets the products
// of the positions k of the kernel with k * dilation = stride * m + phase, each with output q - m.
// So each phase of the pixels is a convolution of stride 1 over dy, with some of the positions.
// A task is a band of q of one image; the phases share its padded dy.
typedef struct {
  long count, first;     // positions of the kernel, the last first, and m of the first
  long step;             // m of neighbors differ by this
  int16_t at[MOST_RUNS];
} phase_t;

static void phase_of(long kernel, long stride, long dilation, long phase, phase_t *p) {
  *p = (phase_t){.count = 0};
  for (long k = kernel - 1; k >= 0; k--) {
    if (k * dilation % stride != phase % stride) continue;
    long m = (k * dilation - phase) / stride;
    if (p->count == 0) p->first = m;
    if (p->count == 1) p->step = p->first - m;
    p->at[p->count++] = (int16_t)k;
  }
}

typedef struct {
  ck_train_pool *pool;
  ck_train_conv g, band;  // `band`: how padded dy is copied
  const T *dy, *packed;
  T *dx;
  finish_t finish;
  int direct;
  long q0, x0, qs, xs, my, mx;  // first q along both axes, how many, and the largest m
  long rows, bands;
} input_t;

// The pixels of one phase in rows first...first+rows of q: where their dy and their dx are.
static long phase_pixels(
    const input_t *t, const T *dy, long line, long pixel, T *dx, long first, long rows, long py,
    long px, const T **a, T **c) {
  const ck_train_conv *g = &t->g;
  long count = 0;
  for (long r = 0; r < rows; r++) {
    long y = (first + r) * g->sh + py - g->top;
    if (y < 0 || y >= g->h) continue;
    for (long p = 0; p < t->xs; p++) {
      long x = (t->x0 + p) * g->sw + px - g->left;
      if (x < 0 || x >= g->w) continue;
      a[count] = dy + (r + t->my) * line + (p + t->mx) * pixel;
      c[count++] = dx + (y * g->w + x) * g->x_stride;
    }
  }
  return count;
}

static void input_task(void *context, ptrdiff_t task, int32_t worker) {
  const input_t *t = context;
  const ck_train_conv *g = &t->g;
  long image = task / t->bands, first = t->q0 + task % t->bands * t->rows;
  long rows = min_l(t->rows, t->q0 + t->qs - first);
  long pixel = t->direct ? g->y_stride : g->o, offset[MOST_RUNS];
  long line = pixel * (t->direct ? g->ow : padded_width(&t->band));
  const T *dy = t->dy + image * g->oh * g->ow * g->y_stride;
  T *dx = t->dx + image * g->h * g->w * g->x_stride;
  if (t->direct) {
    dy += first * line + t->x0 * pixel;
  } else {
    T *band = ck_train_scratch(
        t->pool, worker, 0, (size_t)((rows + t->my) * line) * sizeof(T));
    copy_band(&t->band, (grid_t){0}, dy, first, rows + t->my, band);
    dy = band;
  }
  const T **a = ck_train_scratch(t->pool, worker, 1, (size_t)(2 * rows * t->xs) * sizeof(T *));
  T **c = (T **)(a + rows * t->xs);
  const T *packed = t->packed;
  for (long phase = 0; phase < g->sh * g->sw; phase++) {
    phase_t v, h;
    phase_of(g->kh, g->sh, g->dh, phase / g->sw, &v);
    phase_of(g->kw, g->sw, g->dw, phase % g->sw, &h);
    long count = phase_pixels(
        t, dy, line, pixel, dx, first, rows, phase / g->sw, phase % g->sw, a, c);
    if (v.count * h.count == 0) {
      for (long i = 0; i < count && !t->finish.accumulate; i++)
        memset(c[i], 0, (size_t)g->c * sizeof(T));
      continue;
    }
    int joined = pixel == g->o && (h.step == 1 || h.count == 1);
    runs_t runs = {v.count * (joined ? 1 : h.count), joined ? h.count * g->o : g->o, offset};
    for (long s = 0; s < runs.segments; s++) {
      long k = joined ? s : s / h.count, l = joined ? 0 : s % h.count;
      offset[s] = -(v.first - k * v.step) * line - (h.first - l * h.step) * pixel;
    }
    multiply(a, count, &runs, packed, g->c, c, &t->finish);
    packed += packed_count(v.count * h.count * g->o, g->c);
  }
}

static void conv_input(
    ck_train_pool *pool, const ck_train_conv *conv, const void *dy, const void *packed,
    int32_t accumulate, void *dx) {
  input_t t = {.pool = pool, .g = flattened(conv), .dy = dy, .packed = packed, .dx = dx,
               .finish = {.accumulate = accumulate}};
  const ck_train_conv *g = &t.g;
  t.q0 = g->top / g->sh, t.x0 = g->left / g->sw;
  t.qs = (g->h - 1 + g->top) / g->sh - t.q0 + 1, t.xs = (g->w - 1 + g->left) / g->sw - t.x0 + 1;
  t.my = (g->kh - 1) * g->dh / g->sh, t.mx = (g->kw - 1) * g->dw / g->sw;
  t.direct = t.my == 0 && t.mx == 0 && t.q0 + t.qs <= g->oh && t.x0 + t.xs <= g->ow;
  t.band = (ck_train_conv){
      .n = g->n, .h = g->oh, .w = g->ow, .c = g->o, .x_stride = g->y_stride, .oh = t.qs,
      .ow = t.xs, .kh = t.my + 1, .kw = t.mx + 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1,
      .top = t.my, .left = t.mx - t.x0};
  t.rows = band_rows(&t.band, BAND);
  t.bands = (t.qs + t.rows - 1) / t.rows;
  ck_train_run(pool, input_task, &t, g->n * t.bands);
}
