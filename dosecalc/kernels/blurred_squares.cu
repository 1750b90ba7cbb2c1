#include "common.cuh"

// Twin of numpy_pairs.blurred_squares. One thread per number, in the order of the result: position, component, beamlet.

__device__ inline void blurred_squares_one(const double* t_mm, const double* centre_mm, const double* width_mm,
                                           const double* sigma_mm, int components, int beamlets, int count,
                                           double* result) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  const int j = n % beamlets, c = n / beamlets % components;
  result[n] = blurred_square(t_mm[n / beamlets / components], centre_mm[j], width_mm[j], sigma_mm[c]);
}

KERNEL(blurred_squares, blurred_squares_one, THREADS)
