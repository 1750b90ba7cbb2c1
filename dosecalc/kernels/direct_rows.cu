#include "common.cuh"

// Twin of numpy_pairs.direct_rows: as spline_rows, with the profiles from float64 error functions instead of tables.

// Profiles (C, J) of one voxel along one axis into shared memory, rows padded with zeros, times C factors if given.
__device__ inline void blur_profiles(double t_mm, const double* centre_mm, const double* width_mm,
                                     const double* sigma_mm, int length, int row, const double* factor,
                                     double* profile) {
  for (int e = threadIdx.x; e < COMPONENTS * row; e += blockDim.x) {
    const int c = e / row, j = e % row;
    double value = 0.0;
    if (j < length) {
      value = blurred_square(t_mm, centre_mm[j], width_mm[j], sigma_mm[c]);
      if (factor) value *= factor[c];
    }
    profile[e] = value;
  }
}

__device__ inline void direct_rows_one(const double* u_mm, const double* v_mm, const double* weights,
                                       const double* centre_u, const double* width_u, const double* sigma_u,
                                       const double* centre_v, const double* width_v, const double* sigma_v,
                                       const int* first, const int* next, const double* output, int lines, int columns,
                                       int group, int count, long long stride, double* result) {
  DYNAMIC_SHARED(double, profiles);
  const int begin = blockIdx.x * group, voxels = min(group, count - begin);
  const int rows = padded(lines), size = COMPONENTS * (rows + padded(columns));
  double* along = profiles;
  double* across = profiles + COMPONENTS * rows;
  for (int g = 0; g < voxels; ++g) {
    const int n = begin + g;
    const double* factor = weights + (long long)n * COMPONENTS;
    blur_profiles(v_mm[n], centre_v, width_v, sigma_v, lines, rows, factor, along + g * size);
    blur_profiles(u_mm[n], centre_u, width_u, sigma_u, columns, padded(columns), nullptr, across + g * size);
  }
  __syncthreads();
  write_rows(along, across, size, voxels, lines, columns, first, next, output, stride, result + begin * stride);
}

KERNEL(direct_rows, direct_rows_one, THREADS)
