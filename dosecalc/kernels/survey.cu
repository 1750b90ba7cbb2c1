#include "common.cuh"

// Twin of numpy_places.survey. Every block looks through its share of the voxels and writes one row of eleven numbers;
// nine of them are maxima and two are counts, so that no order of blocks or threads changes a bit. The rows of a few
// hundred blocks are joined by the caller.

#define SURVEYED 11
#define MAXIMA 9

// The larger one; NaN wins, so that it is seen.
__device__ inline double larger(double a, double b) { return a > b || a != a ? a : b; }

__device__ inline void join(double (&into)[SURVEYED], const double* other) {
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) into[k] = k < MAXIMA ? larger(into[k], other[k]) : into[k] + other[k];
}

extern "C" __global__ void __launch_bounds__(THREADS) survey(const double* u_mm, const double* v_mm, const double* magnification,
                                  const double* depth_mm, const double* scale_primary, const double* scale_scatter,
                                  double low, double high, int count, double* rows) {
  __shared__ double found[THREADS][SURVEYED];
  double own[SURVEYED];
#pragma unroll
  for (int k = 0; k < SURVEYED; ++k) own[k] = k < MAXIMA ? -1e300 : 0.0;
  for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < count; n += gridDim.x * blockDim.x) {
    const double u = u_mm[n], v = v_mm[n], m = magnification[n], p = scale_primary[n], s = scale_scatter[n];
    const double dense = larger(p / m, s / m), minus_thin = larger(-(p / m), -(s / m));
    const double here[SURVEYED] = {u, -u, v, -v, -m, depth_mm[n], larger(p, s), dense, minus_thin,
                                   double(dense > high), double(-minus_thin < low)};
    join(own, here);
  }
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
  for (int k = 0; k < SURVEYED; ++k) rows[SURVEYED * (long long)blockIdx.x + k] = own[k];
}
