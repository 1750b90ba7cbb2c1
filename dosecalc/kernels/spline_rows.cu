#include "common.cuh"

// Twin of numpy_pairs.spline_rows. A block takes a group of voxels: its threads read the voxels' profiles from the
// tables into shared memory, then multiply them out (`write_rows`). What goes to memory is the result, once.

// Values of a table (N, C, J) at one node and offset into shared memory, rows padded with zeros, times C factors if given.
__device__ inline void read_profiles(const REAL* table, int length, int node, REAL offset, const REAL* factor,
                                     REAL* profile) {
  REAL taps[3];
  spline_taps(offset, taps);
  const int row = padded(length);
  const long long plane = (long long)COMPONENTS * length;
  for (int e = threadIdx.x; e < COMPONENTS * row; e += blockDim.x) {
    const int c = e / row, j = e % row;
    REAL value = 0;
    if (j < length) {
      const REAL* middle = table + node * plane + c * length + j;
      value = taps[0] * middle[-plane] + taps[1] * middle[0] + taps[2] * middle[plane];
      if (factor) value *= factor[c];
    }
    profile[e] = value;
  }
}

template <class OUT>
__device__ inline void spline_rows_of(const REAL* table_v, const REAL* table_u, const int* iv, const int* iu,
                                      const REAL* fv, const REAL* fu, const REAL* weights, const int* first,
                                      const int* next, const REAL* output, int lines, int columns, int group, int count,
                                      long long stride, OUT* result) {
  DYNAMIC_SHARED(REAL, profiles);
  const int begin = blockIdx.x * group, voxels = min(group, count - begin);
  const int size = COMPONENTS * (padded(lines) + padded(columns));
  REAL* along = profiles;
  REAL* across = profiles + COMPONENTS * padded(lines);
  for (int g = 0; g < voxels; ++g) {
    const int n = begin + g;
    read_profiles(table_v, lines, iv[n], fv[n], weights + (long long)n * COMPONENTS, along + g * size);
    read_profiles(table_u, columns, iu[n], fu[n], nullptr, across + g * size);
  }
  __syncthreads();
  write_rows(along, across, size, voxels, lines, columns, first, next, output, stride, result + begin * stride);
}

// Results in the type of the tables.
KERNEL(spline_rows, spline_rows_of<REAL>, THREADS)

// Results in float64, whatever the tables are.
KERNEL(spline_rows_wide, spline_rows_of<double>, THREADS)
