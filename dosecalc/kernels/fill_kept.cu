#include "common.cuh"

// Twin of numpy_pairs.fill_kept. One warp per row: a ballot tells each lane how many entries lie before its own, so that
// columns stand in order and neighbouring lanes write side by side.

__device__ inline void fill_kept_one(const REAL* values, const double* position_u, const double* position_v,
                                     const double* centre_u, const double* centre_v, const int* first,
                                     double cutoff_mm, const double* least, const long long* start, int beams,
                                     long long stride, int count, float* data, int* indices) {
  const int n = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
  if (n >= count) return; // the whole warp
  long long at = start[n];
  for (int beam = 0; beam < beams; ++beam) {
    const double u = position_u[(long long)n * beams + beam], v = position_v[(long long)n * beams + beam];
    for (int begin = first[beam]; begin < first[beam + 1]; begin += WARP) {
      const int b = begin + lane;
      const bool there = b < first[beam + 1];
      const REAL value = there ? values[n * stride + b] : REAL(0);
      const bool keep =
          there && is_kept(double(value), u, v, centre_u[b], centre_v[b], cutoff_mm * cutoff_mm, least[b]);
      const unsigned kept = __ballot_sync(EVERY_LANE, keep);
      if (keep) {
        const long long place = at + before_lane(kept, lane);
        data[place] = float(value);
        indices[place] = b;
      }
      at += __popc(kept);
    }
  }
}

KERNEL(fill_kept, fill_kept_one, THREADS)
