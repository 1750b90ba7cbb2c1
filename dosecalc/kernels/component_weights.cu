#include "common.cuh"

// Twin of numpy_rays.component_weights. One thread per voxel: it looks up its place in the tables once, reads eight
// table rows of C numbers (a few megabytes in all, which stay in the second-level cache) and stores its C weights.

// Index of the node below a value and the fraction of the way to the next; both tables hold at least two nodes.
__device__ inline int bracket(const double* nodes, int count, double value, double& fraction) {
  int low = 0, high = count - 1; // nodes[low] <= value < nodes[high], or the first or last interval
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (nodes[middle] <= value)
      low = middle;
    else
      high = middle;
  }
  fraction = (value - nodes[low]) / (nodes[low + 1] - nodes[low]);
  return low;
}

__device__ inline void component_weights_one(const double* depth_nodes_mm, const double* log_scale_nodes,
                                             const double* primary, const double* scatter, const double* depth_mm,
                                             const double* scale, const double* magnification, double lowest,
                                             double gy, int depths, int scales, int count, REAL* weights) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  double t, x, y;
  const double of_primary = scale[n], of_scatter = scale[n + count], m = magnification[n];
  const int k = bracket(depth_nodes_mm, depths, depth_mm[n], t);
  const int p = bracket(log_scale_nodes, scales, log(of_primary < lowest ? lowest : of_primary), x);
  const int s = bracket(log_scale_nodes, scales, log(of_scatter < lowest ? lowest : of_scatter), y);
  const REAL factor = REAL(gy / (m * m));
  const double* above_p = primary + ((long long)k * scales + p) * COMPONENTS;
  const double* above_s = scatter + ((long long)k * scales + s) * COMPONENTS;
  const double* below_p = above_p + (long long)scales * COMPONENTS;
  const double* below_s = above_s + (long long)scales * COMPONENTS;
  REAL held[COMPONENTS];
#pragma unroll
  for (int c = 0; c < COMPONENTS; ++c) {
    const double above = (1 - x) * above_p[c] + x * above_p[COMPONENTS + c] + (1 - y) * above_s[c] +
                         y * above_s[COMPONENTS + c];
    const double below = (1 - x) * below_p[c] + x * below_p[COMPONENTS + c] + (1 - y) * below_s[c] +
                         y * below_s[COMPONENTS + c];
    held[c] = REAL(((1 - t) * above + t * below) * factor);
  }
  store_components(weights + (long long)n * COMPONENTS, held);
}

KERNEL(component_weights, component_weights_one, THREADS)
