#include "common.cuh"

// Twin of numpy_maps.gather. One thread per voxel. What comes from memory is the weights, once; the maps of a beam
// (some megabytes) stay in the second-level cache, and their C coefficients per node are read in whole quads.

__device__ inline void gather_one(const REAL* maps, const int* iv, const int* iu, const REAL* fv, const REAL* fu,
                                  const REAL* weights, int nodes_u, int count, REAL* dose) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  REAL tap_v[3], tap_u[3], weight[COMPONENTS];
  spline_taps(fv[n], tap_v);
  spline_taps(fu[n], tap_u);
  load_components(weights + (long long)n * COMPONENTS, weight);
  const REAL* corner = maps + ((long long)(iv[n] - 1) * nodes_u + (iu[n] - 1)) * COMPONENTS;
  REAL total = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    REAL line = 0;
#pragma unroll
    for (int b = 0; b < 3; ++b) {
      REAL node[COMPONENTS], sum = 0;
      load_components(corner + ((long long)a * nodes_u + b) * COMPONENTS, node);
#pragma unroll
      for (int c = 0; c < COMPONENTS; ++c) sum += weight[c] * node[c];
      line += tap_u[b] * sum;
    }
    total += tap_v[a] * line;
  }
  dose[n] = total;
}

KERNEL(gather, gather_one, THREADS)
