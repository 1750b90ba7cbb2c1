#include "common.cuh"

// Twin of numpy_pairs.largest_near. One thread per beamlet and slab of rows: neighbouring threads read a row side by
// side. Slabs meet in an atomic maximum, whose result does not depend on their order.

// There is no atomicMax for doubles: compare and swap their bits.
__device__ inline void raise(double* largest, double value) {
  unsigned long long* bits = reinterpret_cast<unsigned long long*>(largest);
  unsigned long long seen = __double_as_longlong(*largest);
  while (value > __longlong_as_double(seen)) {
    const unsigned long long found = atomicCAS(bits, seen, (unsigned long long)__double_as_longlong(value));
    if (found == seen) return;
    seen = found;
  }
}

__device__ inline void largest_near_one(const REAL* values, const double* position_u, const double* position_v,
                                        const double* centre_u, const double* centre_v, const int* first,
                                        double cutoff_mm, int beams, long long stride, int slab, int count,
                                        double* largest) {
  const int b = first[0] + blockIdx.y * blockDim.x + threadIdx.x;
  if (b >= first[beams]) return;
  int beam = 0;
  while (b >= first[beam + 1]) ++beam;
  const int begin = blockIdx.x * slab;
  double most = largest[b];
  for (int n = begin; n < min(begin + slab, count); ++n) {
    const long long place = (long long)n * beams + beam;
    const double value = double(values[n * stride + b]);
    if (is_kept(value, position_u[place], position_v[place], centre_u[b], centre_v[b], cutoff_mm * cutoff_mm, most))
      most = value;
  }
  raise(largest + b, most);
}

KERNEL(largest_near, largest_near_one, THREADS)
