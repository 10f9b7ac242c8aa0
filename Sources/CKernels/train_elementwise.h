// SPDX-License-Identifier: Apache-2.0
// Elementwise passes, in chunks of a fixed size. Sums over a chunk use 16 lanes, element i in lane
// i mod 16, added in one fixed order whatever the vector width.

#define CHUNK 16384L

static long chunks_of(long count) { return (count + CHUNK - 1) / CHUNK; }

typedef struct {
  long count;
  grid_t grid;
  const T *x, *q;
  T *y;
  T gate_low, gate_high, a, b;
  int accumulate, op;
  double *sums;
} pass_t;

static void quantizer_task(void *context, ptrdiff_t chunk, int32_t worker) {
  const pass_t *t = context;
  (void)worker;
  long from = chunk * CHUNK;
  quantize_run(t->x + from, min_l(CHUNK, t->count - from), t->grid, t->y + from);
}

static void quantizer_forward(
    ck_train_pool *pool, ptrdiff_t count, const ck_train_grid *grid, const void *x, void *y) {
  pass_t t = {.count = count, .grid = grid_of(grid), .x = x, .y = y};
  ck_train_run(pool, quantizer_task, &t, chunks_of(count));
}

// Copies on the stack tell the compiler that dx may not change x or q under way.
INLINE void through_lanes(
    const pass_t *t, grid_t grid, long from, const long lanes, const int accumulate, T *sum) {
  T x[LANES], q[LANES], y[LANES] = {0}, d[LANES];
  memcpy(x, t->x + from, (size_t)lanes * sizeof(T));
  memcpy(q, t->q + from, (size_t)lanes * sizeof(T));
  if (accumulate) memcpy(y, t->y + from, (size_t)lanes * sizeof(T));
  T gate_low = t->gate_low, gate_high = t->gate_high;
  for (long i = 0; i < lanes; i++) {
    T ds, g = through(x[i], q[i], grid, &ds);
    if (accumulate) g += y[i];
    d[i] = ((x[i] > gate_low) & (x[i] < gate_high)) ? g : 0;
    sum[i] += ds;
  }
  memcpy(t->y + from, d, (size_t)lanes * sizeof(T));
}

static void quantizer_backward_task(void *context, ptrdiff_t chunk, int32_t worker) {
  const pass_t *t = context;
  (void)worker;
  long from = chunk * CHUNK, end = min_l(t->count, from + CHUNK);
  T sum[LANES] = {0};
  grid_t grid = t->grid;
  if (t->accumulate) {
    for (; from + LANES <= end; from += LANES) through_lanes(t, grid, from, LANES, 1, sum);
    through_lanes(t, grid, from, end - from, 1, sum);
  } else {
    for (; from + LANES <= end; from += LANES) through_lanes(t, grid, from, LANES, 0, sum);
    through_lanes(t, grid, from, end - from, 0, sum);
  }
  double total = 0;
  for (int i = 0; i < LANES; i++) total += (double)sum[i];
  t->sums[chunk] = total;
}

static double quantizer_backward(
    ck_train_pool *pool, ptrdiff_t count, const ck_train_grid *grid, const void *x, const void *q,
    int32_t accumulate, double gate_low, double gate_high, void *dx) {
  long chunks = chunks_of(count);
  double *sums = ck_train_shared(pool, 0, (size_t)chunks * sizeof(double)), total = 0;
  pass_t t = {.count = count, .grid = grid_of(grid), .x = x, .q = q, .y = dx,
              .gate_low = (T)gate_low, .gate_high = (T)gate_high, .accumulate = accumulate,
              .sums = sums};
  ck_train_run(pool, quantizer_backward_task, &t, chunks);
  for (long i = 0; i < chunks; i++) total += sums[i];
  return total;
}

// Functions of one argument. Those of the C library differ between its versions by a last bit, so
// exp and erf are our own, in double, rounded once.

static T power(T x, T a) {
  if (a < 0) return 1 / power(x, -a);
  T whole = (T)(int)a, r = whole == a ? 1 : SQRT(x);
  for (int i = 0; i < (int)a; i++) r *= x;
  return r;
}

INLINE T clamp01(T v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

INLINE T unary_value(int op, T x, T a, T b) {
  switch (op) {
    case CK_UNARY_CLAMP: {
      T v = x < a ? a : x;
      return v > b ? b : v;
    }
    case CK_UNARY_LEAKY_RELU: return x < 0 ? a * x : x;
    case CK_UNARY_SIGMOID: return (T)(1 / (1 + ck_train_exp(-(double)x)));
    case CK_UNARY_HARD_SIGMOID: return clamp01(a * x + b);
    case CK_UNARY_HARD_SWISH: return x * clamp01(x / 6 + (T)0.5);
    case CK_UNARY_TANH: {
      double e = ck_train_exp(-2 * fabs((double)x)), t = (1 - e) / (1 + e);
      return (T)(x < 0 ? -t : t);
    }
    case CK_UNARY_ERF: return (T)ck_train_erf((double)x);
    case CK_UNARY_GELU:
      return (T)((double)x * 0.5 * (1 + ck_train_erf((double)x * 0.70710678118654752440)));
    case CK_UNARY_EXP: return (T)ck_train_exp((double)x);
    case CK_UNARY_SQRT: return SQRT(x);
    case CK_UNARY_RECIPROCAL: return 1 / x;
    case CK_UNARY_POWER: return power(x, a);
    case CK_UNARY_AFFINE: return a * x + b;
    case CK_UNARY_LOG: return (T)ck_train_log((double)x);
    case CK_UNARY_SOFTPLUS: {
      double v = (double)x;
      return (T)((v > 0 ? v : 0) + ck_train_log(1 + ck_train_exp(-fabs(v))));
    }
    case CK_UNARY_ELU: return x < 0 ? (T)((double)a * (ck_train_exp((double)x) - 1)) : x;
    default: return x < 0 ? -x : x;
  }
}

INLINE T unary_slope(int op, T x, T a, T b) {
  switch (op) {
    case CK_UNARY_CLAMP: return x > a && x < b ? 1 : 0;
    case CK_UNARY_LEAKY_RELU: return x < 0 ? a : 1;
    case CK_UNARY_SIGMOID: {
      double s = 1 / (1 + ck_train_exp(-(double)x));
      return (T)(s * (1 - s));
    }
    case CK_UNARY_HARD_SIGMOID: {
      T v = a * x + b;
      return v > 0 && v < 1 ? a : 0;
    }
    case CK_UNARY_HARD_SWISH: return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + (T)0.5;
    case CK_UNARY_TANH: {
      double e = ck_train_exp(-2 * fabs((double)x)), t = (1 - e) / (1 + e);
      return (T)(1 - t * t);
    }
    case CK_UNARY_ERF: return (T)(1.12837916709551257390 * ck_train_exp(-(double)x * (double)x));
    case CK_UNARY_GELU: {
      double v = (double)x;
      return (T)(0.5 * (1 + ck_train_erf(v * 0.70710678118654752440)) +
                 v * 0.39894228040143267794 * ck_train_exp(-0.5 * v * v));
    }
    case CK_UNARY_EXP: return (T)ck_train_exp((double)x);
    case CK_UNARY_SQRT: return (T)0.5 / SQRT(x);
    case CK_UNARY_RECIPROCAL: return -1 / (x * x);
    case CK_UNARY_POWER: return a == 0 ? 0 : a * power(x, a - 1);
    case CK_UNARY_AFFINE: return a;
    case CK_UNARY_LOG: return 1 / x;
    case CK_UNARY_SOFTPLUS: return (T)(1 / (1 + ck_train_exp(-(double)x)));
    case CK_UNARY_ELU: return x < 0 ? (T)((double)a * ck_train_exp((double)x)) : 1;
    default: return x < 0 ? -1 : x > 0 ? 1 : 0;
  }
}

#define EACH_UNARY(M)                                                                     \
  M(CK_UNARY_CLAMP) M(CK_UNARY_LEAKY_RELU) M(CK_UNARY_SIGMOID) M(CK_UNARY_HARD_SIGMOID)    \
  M(CK_UNARY_HARD_SWISH) M(CK_UNARY_TANH) M(CK_UNARY_ERF) M(CK_UNARY_GELU) M(CK_UNARY_EXP) \
  M(CK_UNARY_SQRT) M(CK_UNARY_RECIPROCAL) M(CK_UNARY_POWER) M(CK_UNARY_AFFINE)             \
  M(CK_UNARY_ABS) M(CK_UNARY_LOG) M(CK_UNARY_SOFTPLUS) M(CK_UNARY_ELU)

static void unary_task(void *context, ptrdiff_t chunk, int32_t worker) {
  const pass_t *t = context;
  (void)worker;
  long from = chunk * CHUNK, count = min_l(CHUNK, t->count - from);
  const T *x = t->x + from;
  T *y = t->y + from;
  switch (t->op) {
#define CASE(OP)                                                           \
  case OP:                                                                 \
    for (long i = 0; i < count; i++) y[i] = unary_value(OP, x[i], t->a, t->b); \
    return;
    EACH_UNARY(CASE)
#undef CASE
  }
}

static void unary_forward(
    ck_train_pool *pool, ck_train_unary op, ptrdiff_t count, double a, double b, const void *x,
    void *y) {
  pass_t t = {.count = count, .x = x, .y = y, .a = (T)a, .b = (T)b, .op = (int)op};
  ck_train_run(pool, unary_task, &t, chunks_of(count));
}

static void unary_backward_task(void *context, ptrdiff_t chunk, int32_t worker) {
  const pass_t *t = context;
  (void)worker;
  long from = chunk * CHUNK, count = min_l(CHUNK, t->count - from);
  const T *x = t->x + from, *q = t->q + from;
  T *y = t->y + from;
  switch (t->op) {
    // Products with 0 and 1 would let an infinite gradient through as NaN.
    case CK_UNARY_CLAMP:
      if (t->accumulate)
        for (long i = 0; i < count; i++) y[i] += x[i] > t->a && x[i] < t->b ? q[i] : 0;
      else
        for (long i = 0; i < count; i++) y[i] = x[i] > t->a && x[i] < t->b ? q[i] : 0;
      return;
#define CASE(OP)                                                                          \
  case OP:                                                                                \
    for (long i = 0; i < count; i++) {                                                    \
      T d = q[i] * unary_slope(OP, x[i], t->a, t->b);                                     \
      y[i] = t->accumulate ? y[i] + d : d;                                                \
    }                                                                                     \
    return;
    CASE(CK_UNARY_LEAKY_RELU) CASE(CK_UNARY_SIGMOID) CASE(CK_UNARY_HARD_SIGMOID)
    CASE(CK_UNARY_HARD_SWISH) CASE(CK_UNARY_TANH) CASE(CK_UNARY_ERF) CASE(CK_UNARY_GELU)
    CASE(CK_UNARY_EXP) CASE(CK_UNARY_SQRT) CASE(CK_UNARY_RECIPROCAL) CASE(CK_UNARY_POWER)
    CASE(CK_UNARY_AFFINE) CASE(CK_UNARY_ABS) CASE(CK_UNARY_LOG) CASE(CK_UNARY_SOFTPLUS)
    CASE(CK_UNARY_ELU)
#undef CASE
  }
}

static void unary_backward(
    ck_train_pool *pool, ck_train_unary op, ptrdiff_t count, double a, double b, const void *x,
    const void *g, int32_t accumulate, void *dx) {
  pass_t t = {.count = count, .x = x, .q = g, .y = dx, .a = (T)a, .b = (T)b, .op = (int)op,
              .accumulate = accumulate};
  ck_train_run(pool, unary_backward_task, &t, chunks_of(count));
}

static void add_task(void *context, ptrdiff_t chunk, int32_t worker) {
  const pass_t *t = context;
  (void)worker;
  long from = chunk * CHUNK, count = min_l(CHUNK, t->count - from);
  const T *restrict x = t->x + from;
  T *restrict y = t->y + from;
  if (t->accumulate)
    for (long i = 0; i < count; i++) y[i] += x[i];
  else
    memcpy(y, x, (size_t)count * sizeof(T));
}

static void add(
    ck_train_pool *pool, ptrdiff_t count, const void *x, int32_t accumulate, void *y) {
  pass_t t = {.count = count, .x = x, .y = y, .accumulate = accumulate};
  ck_train_run(pool, add_task, &t, chunks_of(count));
}

// Loop nests. The innermost axis is a loop, the others a counter; a task is a slice of the
// outermost axes, so no two write the same element.
typedef struct {
  ck_train_nest nest;
  const T *a, *b;
  T *y;
  T low, high;
  int op, accumulate;
  long outer, each;
} nest_t;

INLINE T combined(int op, T a, T b) {
  return op == CK_BINARY_ADD ? a + b : op == CK_BINARY_SUB ? a - b : op == CK_BINARY_MUL ? a * b : a / b;
}

INLINE void combine_run(
    const nest_t *t, const int op, long n, const T *a, long sa, const T *b, long sb, T *y, long sy) {
  T low = t->low, high = t->high;
#define RUN(A, B)                        \
  for (long i = 0; i < n; i++) {         \
    T v = combined(op, A, B);            \
    v = v < low ? low : v;               \
    y[i] = v > high ? high : v;          \
  }
  if (sy == 1 && sa == 1 && sb == 1) {
    RUN(a[i], b[i])
  } else if (sy == 1 && sa == 1 && sb == 0) {
    T c = *b;
    RUN(a[i], c)
  } else {
    for (long i = 0; i < n; i++) {
      T v = combined(op, a[i * sa], b[i * sb]);
      v = v < low ? low : v;
      y[i * sy] = v > high ? high : v;
    }
  }
#undef RUN
}

static void nest_task(void *context, ptrdiff_t task, int32_t worker) {
  const nest_t *t = context;
  (void)worker;
  const ck_train_nest *g = &t->nest;
  long last = g->rank - 1, n = g->extent[last], end = min_l(t->outer, (task + 1) * t->each);
  for (long index = task * t->each; index < end; index++) {
    const T *a = t->a, *b = t->b;
    T *y = t->y;
    long rest = index;
    for (long d = last - 1; d >= 0; d--) {
      long at = rest % g->extent[d];
      rest /= g->extent[d];
      a += at * g->a[d];
      b += at * g->b[d];
      y += at * g->y[d];
    }
    long sa = g->a[last], sb = g->b[last], sy = g->y[last];
    switch (t->op) {
      case -1:
        if (t->accumulate)
          for (long i = 0; i < n; i++) y[i * sy] += a[i * sa];
        else if (sa == 1 && sy == 1)
          memcpy(y, a, (size_t)n * sizeof(T));
        else
          for (long i = 0; i < n; i++) y[i * sy] = a[i * sa];
        break;
      case CK_BINARY_ADD: combine_run(t, CK_BINARY_ADD, n, a, sa, b, sb, y, sy); break;
      case CK_BINARY_SUB: combine_run(t, CK_BINARY_SUB, n, a, sa, b, sb, y, sy); break;
      case CK_BINARY_MUL: combine_run(t, CK_BINARY_MUL, n, a, sa, b, sb, y, sy); break;
      default: combine_run(t, CK_BINARY_DIV, n, a, sa, b, sb, y, sy); break;
    }
  }
}

static void swap_axes(ck_train_nest *g, long i, long j) {
  ptrdiff_t *fields[] = {g->extent, g->a, g->b, g->y};
  for (int f = 0; f < 4; f++) {
    ptrdiff_t held = fields[f][i];
    fields[f][i] = fields[f][j];
    fields[f][j] = held;
  }
}

static void run_nest(ck_train_pool *pool, nest_t *t) {
  ck_train_nest *g = &t->nest;
  // Joins neighboring axes that lie as one.
  ck_train_nest r = {.rank = 0};
  for (long d = 0; d < g->rank; d++) {
    if (g->extent[d] == 1) continue;
    long p = r.rank - 1, e = g->extent[d];
    if (p >= 0 && r.a[p] == g->a[d] * e && r.b[p] == g->b[d] * e && r.y[p] == g->y[d] * e) {
      r.extent[p] *= e;
    } else {
      p = r.rank++;
      r.extent[p] = e;
    }
    r.a[p] = g->a[d], r.b[p] = g->b[d], r.y[p] = g->y[d];
  }
  if (r.rank == 0) r = (ck_train_nest){.rank = 1, .extent = {1}};
  // A short innermost axis, as the channels of a picture are, changes places with a longer one.
  long inner = r.rank - 1, above = r.rank - 2;
  if (above >= 0 && r.extent[inner] < 8 && r.extent[above] > r.extent[inner])
    swap_axes(&r, inner, above);
  if (r.rank == 1 && r.extent[0] > CHUNK) {
    // One long run: cut it, the last piece apart.
    long n = r.extent[0], whole = n / CHUNK, left = n % CHUNK;
    ck_train_nest cut = {.rank = 2, .extent = {whole, CHUNK}, .a = {r.a[0] * CHUNK, r.a[0]},
                         .b = {r.b[0] * CHUNK, r.b[0]}, .y = {r.y[0] * CHUNK, r.y[0]}};
    nest_t piece = *t;
    piece.nest = cut, piece.outer = whole, piece.each = 1;
    ck_train_run(pool, nest_task, &piece, whole);
    if (left == 0) return;
    piece.nest = r;
    piece.nest.extent[0] = left;
    piece.a += whole * CHUNK * r.a[0], piece.b += whole * CHUNK * r.b[0];
    piece.y += whole * CHUNK * r.y[0];
    piece.outer = 1;
    nest_task(&piece, 0, 0);
    return;
  }
  t->nest = r;
  t->outer = 1;
  for (long d = 0; d + 1 < r.rank; d++) t->outer *= r.extent[d];
  t->each = max_l(1, CHUNK / max_l(1, r.extent[r.rank - 1]));
  ck_train_run(pool, nest_task, t, (t->outer + t->each - 1) / t->each);
}

static void binary(
    ck_train_pool *pool, ck_train_binary op, const ck_train_nest *nest, double low, double high,
    const void *a, const void *b, void *y) {
  nest_t t = {.nest = *nest, .a = a, .b = b, .y = y, .low = (T)low, .high = (T)high,
              .op = (int)op};
  run_nest(pool, &t);
}

static void copy(
    ck_train_pool *pool, const ck_train_nest *nest, const void *a, int32_t accumulate, void *y) {
  nest_t t = {.nest = *nest, .a = a, .b = a, .y = y, .op = -1, .accumulate = accumulate};
  for (long d = 0; d < nest->rank; d++) t.nest.b[d] = nest->a[d];
  run_nest(pool, &t);
}
