#include "common.cuh"

// Twin of numpy_maps.collect_field: field[j, k] = sum_ac table_v[a, c, j] sum_b planes[c, a, b] table_u[b, c, k], in two
// steps, both in float64: a beamlet's result is a sum over all voxels, of either sign.

// First step, half[a, c, k] = sum_b planes[c, a, b] table_u[b, c, k]: one thread per result; neighbouring threads take
// neighbouring k, read table_u side by side and planes as a broadcast.
__device__ inline void collect_lines_one(const REAL* planes, const REAL* table_u, int nodes_v, int nodes_u,
                                         int columns, double* half) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= (long long)nodes_v * COMPONENTS * columns) return;
  const int k = int(at % columns), c = int(at / columns % COMPONENTS), a = int(at / columns / COMPONENTS);
  const REAL* plane = planes + ((long long)c * nodes_v + a) * nodes_u;
  double sum = 0.0;
  for (int b = 0; b < nodes_u; ++b) sum += double(plane[b]) * double(table_u[((long long)b * COMPONENTS + c) * columns + k]);
  half[at] = sum;
}

KERNEL(collect_lines, collect_lines_one, THREADS)

#define COLLECT_COLUMNS 32
#define COLLECT_PARTS 16

// Second step, field[j, k] = sum_ac table_v[a, c, j] half[a, c, k]: few results, each a sum over thousands of terms. A
// block takes one row j and 32 columns; 16 threads share each column's sum and add their parts in shared memory, in a
// fixed order: the same bits every time.
__device__ inline void collect_field_one(const REAL* table_v, const double* half, int lines, int rows, int columns,
                                         REAL* field) {
  __shared__ double parts[COLLECT_PARTS][COLLECT_COLUMNS];
  const int k = blockIdx.x * COLLECT_COLUMNS + threadIdx.x, j = blockIdx.y;
  if (j >= rows) return; // the whole block
  double sum = 0.0;
  if (k < columns)
    for (int line = threadIdx.y; line < lines; line += COLLECT_PARTS)
      sum += double(table_v[(long long)line * rows + j]) * half[(long long)line * columns + k];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || k >= columns) return;
  for (int p = 1; p < COLLECT_PARTS; ++p) sum += parts[p][threadIdx.x];
  field[(long long)j * columns + k] = REAL(sum);
}

KERNEL(collect_field, collect_field_one, COLLECT_COLUMNS * COLLECT_PARTS)
