#include "common.cuh"

// Twin of numpy_gamma.gamma_search. One thread per reference point, all in float64. Neighbouring threads have
// neighbouring points and try the same offsets in the same order, so that a warp reads a few neighbouring lines; the
// threads of a warp end together where the doses differ alike, as they do across a plan.

struct Linear {
  double value, gradient[3]; // along x, y, z, per index step
};

// Trilinear dose and its gradient at a part of 0..1 of the way through a cell.
__device__ inline Linear linear_dose(const double* dose, const int (&count)[3], const int (&cell)[3],
                                     const double (&part)[3]) {
  double start[4], across[4], line[4];
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    const int k = min(cell[2] + q / 2, count[2] - 1), j = min(cell[1] + q % 2, count[1] - 1);
    const double* row = dose + ((long long)k * count[1] + j) * count[0];
    start[q] = row[cell[0]];
    across[q] = row[min(cell[0] + 1, count[0] - 1)] - start[q];
    line[q] = start[q] + across[q] * part[0];
  }
  const double y = part[1], z = part[2];
  const double below = line[0] + (line[1] - line[0]) * y, above = line[2] + (line[3] - line[2]) * y;
  Linear found;
  found.value = below + (above - below) * z;
  found.gradient[0] = (across[0] + (across[1] - across[0]) * y) * (1.0 - z) + (across[2] + (across[3] - across[2]) * y) * z;
  found.gradient[1] = (line[1] - line[0]) * (1.0 - z) + (line[3] - line[2]) * z;
  found.gradient[2] = above - below;
  return found;
}

// Least gamma squared around a place, as _least_around of the twin.
__device__ inline double least_around(const double* dose, const int (&count)[3], const double (&place)[3],
                                      double expected, double criterion, const double* offset, const double* scale,
                                      double step) {
  int cell[3];
  double part[3], slope[3], along = 0.0, steep = 0.0;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    cell[i] = min(int(place[i]), count[i] > 2 ? count[i] - 2 : 0);
    part[i] = place[i] - cell[i];
  }
  const Linear found = linear_dose(dose, count, cell, part);
  const double excess = (found.value - expected) / criterion;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    slope[i] = found.gradient[i] * scale[i] / criterion;
    along += slope[i] * offset[i];
    steep += slope[i] * slope[i];
  }
  const double pull = (excess - along) / (1.0 + steep);
  double distance = 0.0, left = 0.0;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const double lowest = fmax(-step, (cell[i] - place[i]) / scale[i]);
    const double highest = fmin(step, (cell[i] + 1 - place[i]) / scale[i]);
    const double moved = fmin(fmax(-offset[i] - slope[i] * pull, lowest), highest);
    distance += (offset[i] + moved) * (offset[i] + moved);
    left += slope[i] * moved;
  }
  return distance + (excess + left) * (excess + left);
}

__device__ inline void gamma_search_one(const double* dose, const double* points, const double* expected,
                                        const double* criterion, const double* offsets, const double* scale,
                                        double step, double most, int nz, int ny, int nx, int offered, int count,
                                        double* gamma) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  const int counts[3] = {nx, ny, nz};
  double best = most * most;
  for (int m = 0; m < offered; ++m) {
    const double* offset = offsets + 3LL * m;
    const double length = sqrt(offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2]);
    const double nearest = fmax(0.0, length - sqrt(3.0) * step);
    if (nearest * nearest >= best) break;
    double place[3];
    bool inside = true;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      place[i] = points[3LL * n + i] + offset[i] * scale[i];
      inside = inside && place[i] >= 0 && place[i] <= counts[i] - 1;
    }
    if (inside) best = fmin(best, least_around(dose, counts, place, expected[n], criterion[n], offset, scale, step));
  }
  gamma[n] = sqrt(best);
}

KERNEL(gamma_search, gamma_search_one, THREADS)
