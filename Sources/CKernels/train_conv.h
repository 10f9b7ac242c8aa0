// SPDX-License-Identifier: Apache-2.0
// Dense convolutions. A task is a band of output rows of one image: its input rows are padded and
// fake-quantized into scratch that stays in the cache, then multiplied without an im2col copy.

#define BAND 24576L           // elements of a band of padded input, about
#define BLOCK (2L * 1024 * 1024)  // elements of all bands that are ready at one time

typedef struct {
  T scale, low, high;
} grid_t;

static grid_t grid_of(const ck_train_grid *g) {
  grid_t r = {(T)g->scale, (T)g->low, (T)g->high};
  return r;
}

// Adding and taking away 1.5 * 2^(mantissa bits) rounds half to even; the limits come first.
INLINE T fake_quantized(T x, grid_t g) {
  T v = x / g.scale;
  v = v < g.low ? g.low : v;
  v = v > g.high ? g.high : v;
  return ((v + MAGIC) - MAGIC) * g.scale;
}

static void quantize_run(const T *restrict x, long count, grid_t g, T *restrict y) {
  if (g.scale == 0) {
    memcpy(y, x, (size_t)count * sizeof(T));
  } else {
    for (long i = 0; i < count; i++) y[i] = fake_quantized(x[i], g);
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

static view_t view_of(const ck_train_conv *g, const ck_train_grid *grid, long *offset) {
  view_t v;
  v.direct = grid->scale == 0 && g->top == 0 && g->left == 0 && padded_width(g) <= g->w &&
             padded_rows(g, g->oh) <= g->h;
  v.pixel = v.direct ? g->x_stride : g->c;
  v.line = v.direct ? g->w * g->x_stride : padded_width(g) * g->c;
  int joined = (v.pixel == g->c && g->dw == 1) || g->kw == 1;
  v.runs.segments = joined ? g->kh : g->kh * g->kw;
  v.runs.length = joined ? g->kw * g->c : g->c;
  v.runs.offset = offset;
  for (long s = 0; s < v.runs.segments && s < MOST_RUNS; s++)
    offset[s] = joined ? s * g->dh * v.line
                       : s / g->kw * g->dh * v.line + s % g->kw * g->dw * v.pixel;
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
  const T **a = ck_train_scratch(t->pool, worker, 1, (size_t)(rows * width) * sizeof(T *));
  for (long r = 0; r < rows; r++)
    for (long p = 0; p < width; p++)
      a[r * width + p] = x + r * g->sh * t->view.line + p * g->sw * t->view.pixel;
  T *y = t->y + ((image * g->oh + first) * width) * g->y_stride;
  multiply(a, rows * width, &t->view.runs, t->packed, g->o, y, g->y_stride, &t->finish);
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

// The input's gradient for any stride: columns = dy * w, then added where they came from, pixel
// after pixel, kernel position after kernel position. A task is an image.
typedef struct {
  ck_train_pool *pool;
  const ck_train_conv *g;
  const T *dy, *packed;
  T *dx;
  int accumulate;
} input_t;

static void input_task(void *context, ptrdiff_t image, int32_t worker) {
  const input_t *t = context;
  const ck_train_conv *g = t->g;
  long c = g->c, columns = g->kh * g->kw * c, zero = 0;
  T *dx = t->dx + image * g->h * g->w * g->x_stride;
  if (!t->accumulate)
    for (long p = 0; p < g->h * g->w; p++)
      memset(dx + p * g->x_stride, 0, (size_t)c * sizeof(T));
  long rows = max_l(1, min_l(g->oh, 2 * BAND / max_l(1, columns * g->ow)));
  T *col = ck_train_scratch(t->pool, worker, 0, (size_t)(rows * g->ow * columns) * sizeof(T));
  const T **a = ck_train_scratch(t->pool, worker, 1, (size_t)(rows * g->ow) * sizeof(T *));
  runs_t runs = {1, g->o, &zero};
  finish_t plain = {NULL, 0, 0, 0, 0};
  for (long first = 0; first < g->oh; first += rows) {
    long count = min_l(rows, g->oh - first) * g->ow;
    const T *dy = t->dy + ((image * g->oh + first) * g->ow) * g->y_stride;
    for (long p = 0; p < count; p++) a[p] = dy + p * g->y_stride;
    multiply(a, count, &runs, t->packed, columns, col, columns, &plain);
    for (long p = 0; p < count; p++) {
      long top = (first + p / g->ow) * g->sh - g->top, left = p % g->ow * g->sw - g->left;
      for (long ky = 0; ky < g->kh; ky++) {
        long y = top + ky * g->dh;
        if (y < 0 || y >= g->h) continue;
        for (long kx = 0; kx < g->kw; kx++) {
          long z = left + kx * g->dw;
          if (z < 0 || z >= g->w) continue;
          T *restrict to = dx + (y * g->w + z) * g->x_stride;
          const T *restrict from = col + p * columns + (ky * g->kw + kx) * c;
          for (long i = 0; i < c; i++) to[i] += from[i];
        }
      }
    }
  }
}

static void conv_input(
    ck_train_pool *pool, const ck_train_conv *g, const void *dy, const void *packed,
    int32_t accumulate, void *dx) {
  input_t t = {pool, g, dy, packed, dx, accumulate};
  ck_train_run(pool, input_task, &t, g->n);
}

// The weights' gradient. Bands of padded input are made ready in turn, then tiles of the result
// are shared out; each walks all bands in order and adds one sum a band to memory.
typedef struct {
  ck_train_pool *pool;
  ck_train_conv g;
  grid_t grid;
  const T *x, *dy;
  T *dense, *ready;
  view_t view;
  long rows, bands, size, first, count;       // bands: rows of each, number an image, elements
  long row_tiles, columns_each, tiles, tasks;  // tiles of the result
} weights_t;

static void ready_task(void *context, ptrdiff_t task, int32_t worker) {
  const weights_t *t = context;
  (void)worker;
  long band = t->first + task, image = band / t->bands, from = band % t->bands * t->rows;
  const T *x = t->x + image * t->g.h * t->g.w * t->g.x_stride;
  copy_band(&t->g, t->grid, x, from * t->g.sh, padded_rows(&t->g, min_l(t->rows, t->g.oh - from)),
            t->ready + task * t->size);
}

static void weights_task(void *context, ptrdiff_t task, int32_t worker) {
  const weights_t *t = context;
  (void)worker;
  const ck_train_conv *g = &t->g;
  long length = t->view.runs.length, columns = t->view.runs.segments * length;
  long begin = t->tiles * task / t->tasks, end = t->tiles * (task + 1) / t->tasks;
  for (long b = 0; b < t->count; b++) {
    long band = t->first + b, image = band / t->bands, from = band % t->bands * t->rows;
    const T *x = t->view.direct ? t->x + (image * g->h + from * g->sh) * t->view.line
                                : t->ready + b * t->size;
    strip_t s = {.d = t->dy + ((image * g->oh + from) * g->ow) * g->y_stride,
                 .lines = min_l(t->rows, g->oh - from), .pixels = g->ow, .d_stride = g->y_stride,
                 .x_line = g->sh * t->view.line, .x_stride = g->sw * t->view.pixel};
    const T *d = s.d;
    for (long index = begin; index < end; index++) {
      // Columns outside, rows inside: the strip of x stays near.
      long part = index / t->row_tiles, row = index % t->row_tiles;
      long segment = part / t->columns_each, panel = part % t->columns_each;
      long first = g->o * row / t->row_tiles, last = g->o * (row + 1) / t->row_tiles;
      // Panels of two vectors while they fit, then of one.
      long wide = length / NR, j = panel < wide ? panel * NR : wide * NR + (panel - wide) * L;
      int vectors = panel < wide ? 2 : 1;
      long width = min_l(length - j, vectors * L), skip = 0;
      // Never read behind the tensor: the last panel moves left and leaves out what is known.
      if (t->view.direct && width < vectors * L) skip = vectors * L - width;
      s.x = x + t->view.runs.offset[segment] + j - skip;
      s.d = d + first;
      strip(&s, t->dense + first * columns + segment * length + j, columns, skip, width,
            (int)(last - first), vectors);
    }
  }
}

static void conv_weights(
    ck_train_pool *pool, const ck_train_conv *g, const ck_train_grid *grid, const void *x,
    const void *dy, void *dense) {
  long offset[MOST_RUNS];
  weights_t t = {.pool = pool, .g = flattened(g), .grid = grid_of(grid), .x = x, .dy = dy,
                 .dense = dense};
  t.view = view_of(&t.g, grid, offset);
  if (t.view.direct && t.view.runs.length < L) {
    // Too narrow for a vector: go through scratch, which has room behind its end.
    ck_train_conv copy = t.g;
    t.view.direct = 0;
    t.view.pixel = copy.c;
    t.view.line = padded_width(&copy) * copy.c;
    int joined = copy.dw == 1 || copy.kw == 1;
    t.view.runs.segments = joined ? copy.kh : copy.kh * copy.kw;
    t.view.runs.length = joined ? copy.kw * copy.c : copy.c;
    for (long s = 0; s < t.view.runs.segments; s++)
      offset[s] = joined ? s * copy.dh * t.view.line
                         : s / copy.kw * copy.dh * t.view.line + s % copy.kw * copy.dw * copy.c;
  }
  long length = t.view.runs.length;
  t.rows = band_rows(&t.g, BAND);
  t.bands = (t.g.oh + t.rows - 1) / t.rows;
  t.size = padded_rows(&t.g, t.rows) * padded_width(&t.g) * t.g.c;
  t.row_tiles = (t.g.o + MR - 1) / MR;
  t.columns_each = length / NR + (length % NR + L - 1) / L;
  t.tiles = t.view.runs.segments * t.columns_each * t.row_tiles;
  int32_t threads = ck_train_threads(pool);
  t.tasks = threads == 1 ? 1 : min_l(t.tiles, 3L * threads);
  long all = t.g.n * t.bands, block = t.view.direct ? all : max_l(1, min_l(all, BLOCK / t.size));
  if (!t.view.direct)
    t.ready = ck_train_shared(pool, 0, (size_t)(block * t.size + NR) * sizeof(T));
  for (t.first = 0; t.first < all; t.first += block) {
    t.count = min_l(block, all - t.first);
    if (!t.view.direct) ck_train_run(pool, ready_task, &t, t.count);
    ck_train_run(pool, weights_task, &t, t.tasks);
  }
}

// Products of computed matrices: a task is up to 96 rows of one product.
typedef struct {
  ck_train_pool *pool;
  const ck_train_matmul *g;
  const T *a, *b;
  T *c;
  long bands;
} matmul_t;

#define MATMUL_ROWS 96L

static void matmul_task(void *context, ptrdiff_t task, int32_t worker) {
  const matmul_t *t = context;
  const ck_train_matmul *g = t->g;
  long item = task / t->bands, first = task % t->bands * MATMUL_ROWS;
  long rows = min_l(MATMUL_ROWS, g->m - first), zero = 0;
  T *packed = ck_train_scratch(
      t->pool, worker, 0, (size_t)(packed_count(g->k, g->n) + rows * g->k) * sizeof(T));
  pack(g->k, g->n, t->b + item * g->b_item, g->b_k, g->b_n, packed);
  const T *a = t->a + item * g->a_item + first * g->a_m;
  const T **lines = ck_train_scratch(t->pool, worker, 1, (size_t)rows * sizeof(T *));
  if (g->a_k != 1) {
    T *copy = packed + packed_count(g->k, g->n);
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < g->k; k++) copy[r * g->k + k] = a[r * g->a_m + k * g->a_k];
    for (long r = 0; r < rows; r++) lines[r] = copy + r * g->k;
  } else {
    for (long r = 0; r < rows; r++) lines[r] = a + r * g->a_m;
  }
  runs_t runs = {1, g->k, &zero};
  finish_t finish = {NULL, 0, 0, 0, g->accumulate};
  multiply(lines, rows, &runs, packed, g->n, t->c + item * g->c_item + first * g->c_m, g->c_m,
           &finish);
}

static void matmul(
    ck_train_pool *pool, const ck_train_matmul *g, const void *a, const void *b, void *c) {
  matmul_t t = {pool, g, a, b, c, (g->m + MATMUL_ROWS - 1) / MATMUL_ROWS};
  ck_train_run(pool, matmul_task, &t, g->count * t.bands);
}
