// SPDX-License-Identifier: Apache-2.0
// The gradient of a dense convolution's weights. Bands of padded input are made ready in turn, then
// tiles of the result are shared out; each walks all bands in order and adds one sum a group of
// bands to memory. How many bands make a group depends on the shape alone.

#define BLOCK (2L * 1024 * 1024)  // elements of all bands that are ready at one time
#define PIXELS 384L               // of a group of bands, at least, if there are so many

typedef struct {
  ck_train_pool *pool;
  ck_train_conv g;
  grid_t grid;
  const T *x, *dy;
  T *dense, *ready;
  view_t view;
  long rows, bands, size, group;  // of a band: rows, number an image, elements; bands of a group
  long first, count;              // bands that are ready
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

// The lines of output pixels of bands b...end, as addresses of their input.
static long gather_lines(const weights_t *t, long b, long end, const T **lines) {
  const ck_train_conv *g = &t->g;
  long count = 0;
  for (; b < end; b++) {
    long band = t->first + b, image = band / t->bands, from = band % t->bands * t->rows;
    const T *x = t->view.direct ? t->x + (image * g->h + from * g->sh) * t->view.line
                                : t->ready + b * t->size;
    for (long r = 0; r < min_l(t->rows, g->oh - from); r++)
      lines[count++] = x + r * g->sh * t->view.line;
  }
  return count;
}

static void weights_task(void *context, ptrdiff_t task, int32_t worker) {
  const weights_t *t = context;
  const ck_train_conv *g = &t->g;
  long length = t->view.runs.length, columns = t->view.runs.segments * length;
  long begin = t->tiles * task / t->tasks, end = t->tiles * (task + 1) / t->tasks;
  const T **lines = ck_train_scratch(
      t->pool, worker, 1, (size_t)(t->group * t->rows) * sizeof(T *));
  for (long b = 0; b < t->count; b += t->group) {
    long band = t->first + b, image = band / t->bands, from = band % t->bands * t->rows;
    const T *d = t->dy + (image * g->oh + from) * g->ow * g->y_stride;
    strip_t s = {.lines = lines, .count = gather_lines(t, b, min_l(t->count, b + t->group), lines),
                 .pixels = g->ow, .d_stride = g->y_stride, .x_stride = g->sw * t->view.pixel,
                 .accumulate = t->first + b > 0};
    for (long index = begin; index < end; index++) {
      // Columns outside, rows inside: the strip of x stays near.
      long part = index / t->row_tiles, row = index % t->row_tiles;
      long segment = part / t->columns_each, j = part % t->columns_each * NR;
      long first = g->o * row / t->row_tiles, last = g->o * (row + 1) / t->row_tiles;
      long width = min_l(length - j, NR), skip = 0;
      int vectors = width > L ? 2 : 1;
      // Never read behind the tensor: the last panel moves left and leaves out what is known.
      if (t->view.direct) skip = vectors * L - width;
      s.offset = t->view.runs.offset[segment] + j - skip;
      s.d = d + first;
      strip(&s, t->dense + first * columns + segment * length + j, columns, skip, width,
            (int)(last - first), vectors);
    }
  }
}

static void conv_weights(
    ck_train_pool *pool, const ck_train_conv *conv, const ck_train_grid *grid, const void *x,
    const void *dy, void *dense) {
  long offset[MOST_RUNS];
  weights_t t = {.pool = pool, .g = flattened(conv), .grid = grid_of(grid), .x = x, .dy = dy,
                 .dense = dense};
  const ck_train_conv *g = &t.g;
  t.view = view_of(g, grid, offset);
  // Too narrow to move left: go through scratch, which has room behind its end.
  if (t.view.direct && t.view.runs.length < NR) t.view = copied_view(g, offset);
  // Bands of one image are about as large as each other.
  t.bands = (g->oh + band_rows(g, BAND) - 1) / band_rows(g, BAND);
  t.rows = (g->oh + t.bands - 1) / t.bands;
  t.bands = (g->oh + t.rows - 1) / t.rows;
  t.size = padded_rows(g, t.rows) * padded_width(g) * g->c;
  t.row_tiles = (g->o + MR - 1) / MR;
  t.columns_each = (t.view.runs.length + NR - 1) / NR;
  t.tiles = t.view.runs.segments * t.columns_each * t.row_tiles;
  int32_t threads = ck_train_threads(pool);
  t.tasks = threads == 1 ? 1 : min_l(t.tiles, 4L * threads);
  long all = g->n * t.bands;
  t.group = max_l(1, min_l(PIXELS / max_l(1, t.rows * g->ow), BLOCK / t.size));
  long block = all;
  if (!t.view.direct) {
    block = min_l(all, max_l(1, BLOCK / t.size / t.group) * t.group);
    t.ready = ck_train_shared(pool, 0, (size_t)(block * t.size + NR) * sizeof(T));
  }
  for (t.first = 0; t.first < all; t.first += block) {
    t.count = min_l(block, all - t.first);
    if (!t.view.direct) ck_train_run(pool, ready_task, &t, t.count);
    ck_train_run(pool, weights_task, &t, t.tasks);
  }
}
