#include "common.cuh"

// Twin of numpy_pairs.fill_near: entries within the cut-off straight from the spline tables into the stored matrix; rows
// are never in memory. One warp per voxel, so that no thread waits for another voxel's: its lanes read the voxel's
// profiles from the tables (a few megabytes, in the second-level cache) into shared memory of the warp's own, then take
// neighbouring beamlets. A ballot tells each lane how many entries lie before its own: columns stand in order, and
// neighbouring lanes write side by side. What goes to memory is the result, once.

// Values of a table (N, C, J) at one node and offset, times C factors if given: profile[c * step_c + j * step_j]. Lanes
// read side by side; c and j follow without a division.
__device__ inline void read_by_warp(const REAL* table, int length, int node, REAL offset, const REAL* factor, int step_c,
                                    int step_j, REAL* profile) {
  REAL taps[3];
  spline_taps(offset, taps);
  const long long plane = (long long)COMPONENTS * length;
  const REAL* middle = table + node * plane;
  int c = 0, j = threadIdx.x;
  for (int e = threadIdx.x; e < COMPONENTS * length; e += WARP, j += WARP) {
    for (; j >= length; j -= length) ++c;
    const REAL value = taps[0] * middle[e - plane] + taps[1] * middle[e] + taps[2] * middle[e + plane];
    profile[c * step_c + j * step_j] = factor ? value * factor[c] : value;
  }
}

__device__ inline void fill_near_one(const REAL* table_v, const REAL* table_u, const int* iv, const int* iu,
                                     const REAL* fv, const REAL* fu, const REAL* weights, const int* row,
                                     const int* column, const REAL* output, const double* position_u,
                                     const double* position_v, const double* centre_u, const double* centre_v,
                                     int first, double cutoff_mm, const long long* counted, const long long* start,
                                     int lines, int columns, int beamlets, int count, float* data, int* indices,
                                     int* wrong) {
  const int lane = threadIdx.x, n = blockIdx.x * blockDim.y + threadIdx.y;
  if (n >= count) return; // the whole warp
  DYNAMIC_SHARED(REAL, profiles);
  // along[j][c], weighted: all lanes of a row of beamlets read the same C numbers, 16 bytes at a time. across[c][k]:
  // neighbouring lanes read neighbouring columns, each from a bank of its own.
  REAL* along = profiles + threadIdx.y * COMPONENTS * (lines + columns);
  REAL* across = along + COMPONENTS * lines;
  const long long room = counted[n];
  if (room) {
    read_by_warp(table_v, lines, iv[n], fv[n], weights + (long long)n * COMPONENTS, 1, COMPONENTS, along);
    read_by_warp(table_u, columns, iu[n], fu[n], nullptr, columns, 1, across);
  }
  __syncwarp();
  const double u = position_u[n], v = position_v[n], square = cutoff_mm * cutoff_mm;
  long long found = 0;
  for (int begin = 0; begin < beamlets; begin += WARP) {
    const int b = begin + lane;
    const bool near = b < beamlets && is_near(u, v, centre_u[first + b], centre_v[first + b], square);
    const unsigned votes = __ballot_sync(EVERY_LANE, near);
    const long long place = found + before_lane(votes, lane);
    if (near && place < room) {
      REAL held[COMPONENTS], value = 0;
      load_components(along + row[b] * COMPONENTS, held);
#pragma unroll
      for (int c = 0; c < COMPONENTS; ++c) value += held[c] * across[c * columns + column[b]];
      data[start[n] + place] = float(value * output[b]);
      indices[start[n] + place] = first + b;
    }
    found += __popc(votes);
  }
  // Another number than was counted: nothing was written beyond the room, and the caller refuses.
  if (lane == 0 && found != room) atomicAdd(wrong, 1);
}

KERNEL(fill_near, fill_near_one, 8 * WARP)
