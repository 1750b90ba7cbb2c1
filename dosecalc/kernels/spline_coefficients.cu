#include "common.cuh"

// Twin of numpy_places.spline_coefficients, which filters recursively, node after node. Here every coefficient is its
// own sum: the inverse of (1, 6, 1) / 8 is sqrt(2) z^|k| with the pole z = sqrt(8) - 3 (Unser, IEEE Signal Process Mag
// 16(6):22, 1999), which after 22 nodes is below 2^-53 of its first term. Threads of a warp read neighbouring numbers.

#define POLE -0.17157287525380990240 // sqrt(8) - 3
#define GAIN 1.41421356237309504880  // sqrt(2)
#define REACH 22

// A node's place after mirroring at the first and last node, each of which counts once.
__device__ inline int mirrored(int node, int nodes) {
  if (nodes == 1) return 0;
  const int period = 2 * (nodes - 1), place = (node % period + period) % period;
  return place < nodes ? place : period - place;
}

__device__ inline void spline_coefficients_one(const double* values, double negligible, int nodes, int lines,
                                               int count, REAL* coefficients) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  const int node = n / lines, line = n % lines;
  double sum = 0.0;
  for (int k = REACH; k > 0; --k) {
    const double before = values[(long long)mirrored(node - k, nodes) * lines + line];
    const double after = values[(long long)mirrored(node + k, nodes) * lines + line];
    sum = POLE * (sum + before + after);
  }
  const double coefficient = GAIN * (sum + values[n]);
  coefficients[n] = REAL(fabs(coefficient) < negligible ? 0.0 : coefficient);
}

KERNEL(spline_coefficients, spline_coefficients_one, THREADS)
