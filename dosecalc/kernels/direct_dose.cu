#include "common.cuh"

// Twin of numpy_pairs.direct_dose. A block takes one voxel after another: its threads make the voxel's profiles in shared
// memory, then each sums over the columns for some pairs of component and lattice row, and the block adds these up in a
// fixed order: the same bits every time. All in float64.

__device__ inline void direct_dose_one(const double* u_mm, const double* v_mm, const double* weights,
                                       const double* field, const double* centre_u, const double* width_u,
                                       const double* sigma_u, const double* centre_v, const double* width_v,
                                       const double* sigma_v, int lines, int columns, int group, int count,
                                       double* dose) {
  // Components lie side by side across a warp: an odd row length keeps their columns in different banks.
  const int row = columns | 1;
  DYNAMIC_SHARED(double, across);
  double* along = across + COMPONENTS * row;
  double* parts = along + COMPONENTS * lines;
  for (int n = blockIdx.x * group; n < min((int(blockIdx.x) + 1) * group, count); ++n) {
    for (int e = threadIdx.x; e < COMPONENTS * columns; e += blockDim.x) {
      const int c = e / columns, k = e % columns;
      across[c * row + k] = blurred_square(u_mm[n], centre_u[k], width_u[k], sigma_u[c]);
    }
    for (int e = threadIdx.x; e < COMPONENTS * lines; e += blockDim.x) {
      const int j = e / COMPONENTS, c = e % COMPONENTS;
      along[e] = weights[(long long)n * COMPONENTS + c] * blurred_square(v_mm[n], centre_v[j], width_v[j], sigma_v[c]);
    }
    __syncthreads();
    double sum = 0.0;
    for (int e = threadIdx.x; e < COMPONENTS * lines; e += blockDim.x) {
      // Narrow components see nothing of the field from most voxels.
      if (along[e] == 0.0) continue;
      const int j = e / COMPONENTS, c = e % COMPONENTS;
      double line = 0.0;
      for (int k = 0; k < columns; ++k) line += field[(long long)j * columns + k] * across[c * row + k];
      sum += along[e] * line;
    }
    parts[threadIdx.x] = sum;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) { // the block is a power of two
      __syncthreads();
      if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    // No barrier here: all threads have read the profiles before the sums, and thread 0 must come to the next voxel's first
    // barrier before the others write their parts again.
    if (threadIdx.x == 0) dose[n] = parts[0];
  }
}

KERNEL(direct_dose, direct_dose_one, THREADS)
