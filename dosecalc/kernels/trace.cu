#include "common.cuh"

// Twin of numpy_rays.trace. One thread per ray, everything in registers, in float64: a depth is a sum over hundreds of
// cells. The rays of neighbouring threads end in neighbouring voxels, so that they read the same cells at almost the
// same time. The averages follow by the same recursion over the cells as in the twin, without a list of them.

#define MOST_RANGES 2  // averages in registers, as many as the dose model asks for; more take another launch
#define TRACE_BLOCKS 5 // at once on a multiprocessor: a ray waits for memory at every cell, other rays fill the time
#define FAR_AWAY 1e300 // crossing that a ray never reaches, because it does not move along that axis

struct Axis {
  double source, inverse, next; // index coordinate of the source; 1 / ray; where the ray leaves the cell
  int cell, step, count;
};

// Narrow t_in..t_out to the grid's extent along one axis.
__device__ inline void enter(Axis& axis, double source, double ray, int count, double& t_in, double& t_out) {
  axis.source = source;
  axis.count = count;
  axis.inverse = FAR_AWAY;
  axis.step = (ray > 0) - (ray < 0);
  if (axis.step == 0) {
    if (source < -0.5 || source >= count - 0.5) t_out = -1.0;
    return;
  }
  axis.inverse = 1.0 / ray;
  const double low = (-0.5 - source) * axis.inverse, high = (count - 0.5 - source) * axis.inverse;
  t_in = fmax(t_in, fmin(low, high));
  t_out = fmin(t_out, fmax(low, high));
}

__device__ inline void next_crossing(Axis& axis) {
  axis.next = axis.step == 0 ? FAR_AWAY : (axis.cell + 0.5 * axis.step - axis.source) * axis.inverse;
}

__device__ inline void first_cell(Axis& axis, double ray, double t) {
  // Clamped before the conversion: a ray that misses the grid may begin far outside the range of int.
  axis.cell = int(fmin(fmax(floor(axis.source + t * ray + 0.5), 0.0), axis.count - 1.0));
  next_crossing(axis);
}

__device__ inline bool inside(const Axis& axis) { return axis.cell >= 0 && axis.cell < axis.count; }

__device__ inline void step_on(Axis& axis) {
  axis.cell += axis.step;
  next_crossing(axis);
}

__device__ inline void trace_one(const float* density, const double* source, const double* targets,
                                 const double* spacing, const double* range_mm, double air, int nz, int ny, int nx,
                                 int ranges, int count, double* depth, double* average) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  double ray[3], squared = 0.0;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    ray[i] = targets[3LL * n + i] - source[i];
    squared += (ray[i] * spacing[i]) * (ray[i] * spacing[i]);
  }
  const double length_mm = sqrt(squared);
  double t = 0.0, t_out = 1.0, total = 0.0;
  Axis x, y, z;
  enter(x, source[0], ray[0], nx, t, t_out);
  enter(y, source[1], ray[1], ny, t, t_out);
  enter(z, source[2], ray[2], nz, t, t_out);
  first_cell(x, ray[0], t);
  first_cell(y, ray[1], t);
  first_cell(z, ray[2], t);
  double mean[MOST_RANGES] = {}, faded[MOST_RANGES], per_mm[MOST_RANGES];
#pragma unroll
  for (int q = 0; q < MOST_RANGES; ++q) {
    faded[q] = 1.0;
    per_mm[q] = q < ranges ? 1.0 / range_mm[q] : 0.0;
  }
  while (t < t_out && inside(x) && inside(y) && inside(z)) {
    const double crossing = fmin(fmin(x.next, y.next), z.next), t_next = fmin(crossing, t_out);
    const double here = density[((long long)z.cell * ny + y.cell) * nx + x.cell];
    const double added = fmax(t_next - t, 0.0) * length_mm * here;
    total += added;
    if (here >= air) {
#pragma unroll
      for (int q = 0; q < MOST_RANGES; ++q) {
        if (q >= ranges) break;
        const double fade = exp(-added * per_mm[q]);
        mean[q] = here + (mean[q] - here) * fade;
        faded[q] *= fade;
      }
    }
    t = fmax(t_next, t);
    if (x.next == crossing)
      step_on(x);
    else if (y.next == crossing)
      step_on(y);
    else
      step_on(z);
  }
  depth[n] = total;
#pragma unroll
  for (int q = 0; q < MOST_RANGES; ++q)
    if (q < ranges) average[(long long)q * count + n] = faded[q] < 1.0 ? mean[q] / (1.0 - faded[q]) : 1.0;
}

KERNEL(trace, trace_one, THREADS, TRACE_BLOCKS)
