// SPDX-License-Identifier: Apache-2.0
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
  const T **lines = ck_train_scratch(t->pool, worker, 1, (size_t)(2 * rows) * sizeof(T *));
  T **c = (T **)(lines + rows);
  for (long r = 0; r < rows; r++) c[r] = t->c + item * g->c_item + (first + r) * g->c_m;
  if (g->a_k != 1) {
    T *copy = packed + packed_count(g->k, g->n);
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < g->k; k++) copy[r * g->k + k] = a[r * g->a_m + k * g->a_k];
    for (long r = 0; r < rows; r++) lines[r] = copy + r * g->k;
  } else {
    for (long r = 0; r < rows; r++) lines[r] = a + r * g->a_m;
  }
  runs_t runs = {1, g->k, &zero};
  finish_t finish = {.accumulate = g->accumulate};
  multiply(lines, rows, &runs, packed, g->n, c, &finish);
}

static void matmul(
    ck_train_pool *pool, const ck_train_matmul *g, const void *a, const void *b, void *c) {
  matmul_t t = {pool, g, a, b, c, (g->m + MATMUL_ROWS - 1) / MATMUL_ROWS};
  ck_train_run(pool, matmul_task, &t, g->count * t.bands);
}
