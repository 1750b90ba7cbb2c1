#include "common.cuh"

// Twin of numpy_places.locate. One thread per voxel; rint rounds halves to even, as NumPy's does.

__device__ inline void locate_one(const double* t_mm, double start_mm, double step_mm, int count, int* node,
                                  REAL* offset) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  const double position = (t_mm[n] - start_mm) / step_mm, nearest = rint(position);
  node[n] = int(nearest);
  offset[n] = REAL(position - nearest);
}

KERNEL(locate, locate_one, THREADS)
