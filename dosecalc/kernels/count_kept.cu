#include "common.cuh"

// Twin of numpy_pairs.count_kept. One warp per row; its lanes take neighbouring beamlets.

__device__ inline void count_kept_one(const REAL* values, const double* position_u, const double* position_v,
                                      const double* centre_u, const double* centre_v, const int* first,
                                      double cutoff_mm, const double* least, int beams, long long stride,
                                      long long step, int count, long long* counts) {
  const int n = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
  if (n >= count) return; // the whole warp
  long long kept = 0;
  for (int beam = 0; beam < beams; ++beam) {
    const double u = position_u[(long long)n * beams + beam], v = position_v[(long long)n * beams + beam];
    for (int begin = first[beam]; begin < first[beam + 1]; begin += WARP) {
      const int b = begin + lane;
      const bool keep = b < first[beam + 1] && is_kept(double(values[n * stride + b * step]), u, v, centre_u[b], centre_v[b],
                                                       cutoff_mm * cutoff_mm, least[b]);
      kept += __popc(__ballot_sync(EVERY_LANE, keep));
    }
  }
  if (lane == 0) counts[n] = kept;
}

KERNEL(count_kept, count_kept_one, THREADS)
