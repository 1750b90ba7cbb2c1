#include "common.cuh"

// Twin of numpy_places.survey, in two steps. In the first every block looks through its share of the voxels and writes
// one row of eleven numbers; in the second one block joins the rows. Nine numbers are maxima and two are counts, so that
// no order of blocks or threads changes a bit.

#define SURVEYED 11
#define MAXIMA 9

// The larger one; NaN wins, so that it is seen.
__device__ inline double larger(double a, double b) { return a > b || a != a ? a : b; }

__device__ inline void begin(double (&own)[SURVEYED]) {
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) own[k] = k < MAXIMA ? -1e300 : 0.0;
}

__device__ inline void join(double (&into)[SURVEYED], const double* other) {
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) into[k] = k < MAXIMA ? larger(into[k], other[k]) : into[k] + other[k];
}

// What all threads of a block have, joined into one row.
__device__ inline void join_block(double (&own)[SURVEYED], double* row) {
  __shared__ double found[THREADS][SURVEYED];
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) found[threadIdx.x][k] = own[k];
  for (unsigned half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x >= half) continue;
    join(own, found[threadIdx.x + half]);
#pragma unroll
    for (int k = 0; k < SURVEYED; ++k) found[threadIdx.x][k] = own[k];
  }
  if (threadIdx.x > 0) return;
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) row[k] = own[k];
}

__device__ inline void survey_one(const double* u_mm, const double* v_mm, const double* magnification,
                                  const double* depth_mm, const double* scales, double low, double high, int count,
                                  int shares, double* rows) {
  if (int(blockIdx.x) >= shares) return; // the whole block
  double own[SURVEYED];
  begin(own);
  for (int n = blockIdx.x * THREADS + threadIdx.x; n < count; n += shares * THREADS) {
    const double u = u_mm[n], v = v_mm[n], m = magnification[n], p = scales[n], s = scales[n + count];
    const double dense = larger(p / m, s / m), minus_thin = larger(-(p / m), -(s / m));
    const double here[SURVEYED] = {u, -u, v, -v, -m, depth_mm[n], larger(p, s), dense, minus_thin,
                                   double(dense > high), double(-minus_thin < low)};
    join(own, here);
  }
  join_block(own, rows + SURVEYED * (long long)blockIdx.x);
}

KERNEL(survey, survey_one, THREADS)

__device__ inline void join_survey_one(const double* rows, int count, double* result) {
  double own[SURVEYED];
  begin(own);
  for (int n = threadIdx.x; n < count; n += THREADS) join(own, rows + SURVEYED * n);
  join_block(own, result);
}

KERNEL(join_survey, join_survey_one, THREADS)
