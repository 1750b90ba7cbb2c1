#include "common.cuh"

// Twin of numpy_maps.scatter, turned round: instead of voxels that add to nine nodes each, which needs atomic additions
// whose order, and so whose last bits, differ from run to run, every node collects from the voxels around it. The caller
// has sorted the voxels by nearest node once: order holds them, those of node i from starts[i] to starts[i + 1].
// One thread per node and component, components fastest: the threads of a node read the C weights of a voxel side by
// side and the rest of it as a broadcast. Sums are in float64 and in a fixed order: the same bits every time.

// Weight of the node at `step` (-1, 0, 1) from a voxel's nearest one.
__device__ inline REAL spline_tap(int step, REAL offset) {
  const REAL from = REAL(0.5) + step * offset;
  return step == 0 ? REAL(0.75) - offset * offset : REAL(0.5) * from * from;
}

__device__ inline void scatter_one(const REAL* values, const int* order, const int* starts, const REAL* fv,
                                   const REAL* fu, const REAL* weights, int nodes_v, int nodes_u, REAL* planes) {
  const int c = threadIdx.x, node = blockIdx.x * blockDim.y + threadIdx.y;
  if (node >= nodes_v * nodes_u) return;
  const int a = node / nodes_u, b = node % nodes_u;
  double total = 0.0;
  for (int step_v = -1; step_v <= 1; ++step_v) {
    for (int step_u = -1; step_u <= 1; ++step_u) {
      // Voxels whose nearest node is the one from which this node is a step away.
      const int from_v = a - step_v, from_u = b - step_u;
      if (from_v < 0 || from_v >= nodes_v || from_u < 0 || from_u >= nodes_u) continue;
      const int from = from_v * nodes_u + from_u;
      for (int i = starts[from]; i < starts[from + 1]; ++i) {
        const int n = order[i];
        const REAL share = spline_tap(step_v, fv[n]) * spline_tap(step_u, fu[n]) * values[n];
        total += double(share * weights[(long long)n * COMPONENTS + c]);
      }
    }
  }
  planes[(long long)c * nodes_v * nodes_u + node] = REAL(total);
}

KERNEL(scatter, scatter_one, 1024)
