#include "common.cuh"

// Twin of numpy_places.project. One thread per voxel; `axes` is stored row by row, its columns are the beam's axes.

__device__ inline void project_one(const double* points_mm, const double* isocentre_mm, const double* axes,
                                   double sad_mm, int count, double* u_mm, double* v_mm, double* magnification) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  double local[3] = {};
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const double from_centre = points_mm[3LL * n + i] - isocentre_mm[i];
#pragma unroll
    for (int k = 0; k < 3; ++k) local[k] += from_centre * axes[3 * i + k];
  }
  const double scale = (sad_mm - local[2]) / sad_mm;
  u_mm[n] = local[0] / scale;
  v_mm[n] = local[1] / scale;
  magnification[n] = scale;
}

KERNEL(project, project_one, THREADS)
