// SPDX-License-Identifier: Apache-2.0
// The tiles: up to MR rows by one or two vectors of columns, sums kept in registers.
//
// Layout: a row of the left matrix is `segments` runs of `length` neighboring elements, at
// `row + offset[s]`; so the patches of a convolution need no copy. Rows of the result lie anywhere
// too. The right matrix is packed in panels of NR columns, [panel][k][columns], the last panel as
// wide as needed, filled with zeros.
// Order: one chain of fused multiply-adds over k for each output, whatever the tile's size.

typedef T V __attribute__((vector_size(VB), aligned(sizeof(T))));
typedef I VI __attribute__((vector_size(VB), aligned(sizeof(T))));
enum { L = VB / (int)sizeof(T), NR = 2 * L };

#define INLINE static inline __attribute__((always_inline))
// For loops over an array of vectors: only with constant indices do these stay in registers.
#define UNROLL _Pragma("clang loop unroll(full)")

INLINE V load(const T *p) { return *(const V *)p; }
INLINE void store(T *p, V v) { *(V *)p = v; }
// x - 0 is x for every x, so this is a plain broadcast.
INLINE V splat(T x) { return x - (V){0}; }
INLINE V select_v(VI mask, V a, V b) { return (V)((mask & (VI)a) | (~mask & (VI)b)); }

INLINE V load_part(const T *p, long width) {
  V v = {0};
  T t[L];
  store(t, v);
  for (long j = 0; j < width; j++) t[j] = p[j];
  return load(t);
}

INLINE void store_part(T *p, V v, long width) {
  T t[L];
  store(t, v);
  for (long j = 0; j < width; j++) p[j] = t[j];
}

// How sums become outputs; limits only with `clamps`.
typedef struct {
  const T *bias, *scales;
  T low, high;
  int clamps, accumulate;
} finish_t;

static finish_t finish_of(const ck_train_finish *f) {
  finish_t r = {f->bias, f->scales, (T)f->low, (T)f->high, !(f->low == -INFINITY && f->high == INFINITY),
                f->accumulate};
  return r;
}

// NaN compares false and so passes the limits, as divergence must be seen.
INLINE V finished(V sum, V bias, V scale, const finish_t *f) {
  sum = sum + bias;
  if (f->scales) sum = sum * scale;
  if (f->clamps) {
    V low = splat(f->low), high = splat(f->high);
    sum = select_v(sum < low, low, sum);
    sum = select_v(sum > high, high, sum);
  }
  return sum;
}

typedef struct {
  long segments, length;
  const long *offset;
} runs_t;

// Stores one vector of columns of a tile from column `j`, up to column `end`. Called with constant
// `vector`: an index that is not known when compiling would keep the sums in memory.
INLINE void tile_store(
    V (*const r)[2], const int vector, const int rows, T *const *c, long j, long end,
    const finish_t *f) {
  j += vector * L;
  const T *from = f->bias ? f->bias + j : NULL, *scales = f->scales ? f->scales + j : NULL;
  if (end - j >= L) {
    V bias = from ? load(from) : (V){0}, scale = scales ? load(scales) : (V){0};
    UNROLL for (int i = 0; i < rows; i++) {
      T *to = c[i] + j;
      store(to, f->accumulate ? load(to) + r[i][vector] : finished(r[i][vector], bias, scale, f));
    }
  } else {
    V bias = from ? load_part(from, end - j) : (V){0};
    V scale = scales ? load_part(scales, end - j) : (V){0};
    UNROLL for (int i = 0; i < rows; i++) {
      T *to = c[i] + j;
      V sum = r[i][vector];
      sum = f->accumulate ? load_part(to, end - j) + sum : finished(sum, bias, scale, f);
      store_part(to, sum, end - j);
    }
  }
}

INLINE void tile_rows(
    const T *const *a, const runs_t *runs, const T *b, T *const *c, long j, long end,
    const finish_t *f, const int rows, const int vectors) {
  V r[MR][2];
  UNROLL for (int i = 0; i < rows; i++) r[i][0] = r[i][1] = (V){0};
  for (long s = 0; s < runs->segments; s++) {
    const T *p[MR];
    UNROLL for (int i = 0; i < rows; i++) p[i] = a[i] + runs->offset[s];
    for (long k = 0; k < runs->length; k++) {
      V b0 = load(b), b1 = vectors == 2 ? load(b + L) : (V){0};
      b += vectors * L;
      UNROLL for (int i = 0; i < rows; i++) {
        V x = splat(p[i][k]);
        r[i][0] = __builtin_elementwise_fma(x, b0, r[i][0]);
        if (vectors == 2) r[i][1] = __builtin_elementwise_fma(x, b1, r[i][1]);
      }
    }
  }
  tile_store(r, 0, rows, c, j, end, f);
  if (vectors == 2) tile_store(r, 1, rows, c, j, end, f);
}

#define EACH_ROWS(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12)

static void tile(
    const T *const *a, const runs_t *runs, const T *b, T *const *c, long j, long end,
    const finish_t *f, int rows, int vectors) {
  switch (rows * 2 + vectors) {
#define CASE(N)                                                           \
  case N * 2 + 1:                                                         \
    if (N <= MR) tile_rows(a, runs, b, c, j, end, f, N <= MR ? N : 1, 1); \
    return;                                                               \
  case N * 2 + 2:                                                         \
    if (N <= MR) tile_rows(a, runs, b, c, j, end, f, N <= MR ? N : 1, 2); \
    return;
    EACH_ROWS(CASE)
#undef CASE
  }
}

// Rows c[i][columns] = left rows a[i] * packed: panels outside, so that one stays in the cache.
static void multiply(
    const T *const *a, long rows, const runs_t *runs, const T *packed, long columns, T *const *c,
    const finish_t *finish) {
  long k = runs->segments * runs->length, tiles = (rows + MR - 1) / MR;
  for (long j = 0; j < columns; j += NR)
    for (long t = 0; t < tiles; t++) {
      long from = rows * t / tiles, to = rows * (t + 1) / tiles;
      tile(a + from, runs, packed + j * k, c + from, j, columns, finish, (int)(to - from),
           columns - j > L ? 2 : 1);
    }
}

static ptrdiff_t packed_count(ptrdiff_t rows, ptrdiff_t columns) {
  return rows * ((columns + L - 1) / L * L);
}

// Packs the matrix whose element (r, c) is `m[r * sr + c * sc]`.
static void pack(long rows, long columns, const T *m, long sr, long sc, T *to) {
  for (long j = 0; j < columns; j += NR) {
    long width = columns - j < NR ? columns - j : NR, wide = (width + L - 1) / L * L;
    for (long r = 0; r < rows; r++, to += wide) {
      const T *from = m + r * sr + j * sc;
      for (long i = 0; i < width; i++) to[i] = from[i * sc];
      for (long i = width; i < wide; i++) to[i] = 0;
    }
  }
}

// The gradient's tile: c[rows][width] (+)= sum over pixels of d[pixel][row] * x[pixel][column]. The
// pixels lie in `count` lines: x anywhere, d one behind the other. `skip` columns are left out.
typedef struct {
  const T *d;
  const T *const *lines;
  long offset, count, pixels, d_stride, x_stride;
  int accumulate;
} strip_t;

INLINE void strip_rows(
    const strip_t *s, T *c, long ldc, long skip, long width, const int rows, const int vectors) {
  V r[MR][2];
  UNROLL for (int i = 0; i < rows; i++) r[i][0] = r[i][1] = (V){0};
  const T *d = s->d;
  for (long line = 0; line < s->count; line++) {
    const T *x = s->lines[line] + s->offset;
    for (long p = 0; p < s->pixels; p++, x += s->x_stride, d += s->d_stride) {
      V b0 = load(x), b1 = vectors == 2 ? load(x + L) : (V){0};
      UNROLL for (int i = 0; i < rows; i++) {
        V v = splat(d[i]);
        r[i][0] = __builtin_elementwise_fma(v, b0, r[i][0]);
        if (vectors == 2) r[i][1] = __builtin_elementwise_fma(v, b1, r[i][1]);
      }
    }
  }
  if (width == vectors * L) {
    UNROLL for (int i = 0; i < rows; i++) {
      T *to = c + i * ldc;
      store(to, s->accumulate ? load(to) + r[i][0] : r[i][0]);
      if (vectors == 2) store(to + L, s->accumulate ? load(to + L) + r[i][1] : r[i][1]);
    }
    return;
  }
  UNROLL for (int i = 0; i < rows; i++) {
    T t[NR], *to = c + i * ldc;
    store(t, r[i][0]);
    store(t + L, r[i][1]);
    for (long j = 0; j < width; j++) to[j] = s->accumulate ? to[j] + t[skip + j] : t[skip + j];
  }
}

static void strip(
    const strip_t *s, T *c, long ldc, long skip, long width, int rows, int vectors) {
  switch (rows * 2 + vectors) {
#define CASE(N)                                                                  \
  case N * 2 + 1:                                                                \
    if (N <= MR) strip_rows(s, c, ldc, skip, width, N <= MR ? N : 1, 1);         \
    return;                                                                      \
  case N * 2 + 2:                                                                \
    if (N <= MR) strip_rows(s, c, ldc, skip, width, N <= MR ? N : 1, 2);         \
    return;
    EACH_ROWS(CASE)
#undef CASE
  }
}
