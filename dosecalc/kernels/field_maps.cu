#include "common.cuh"

// Twin of numpy_maps.field_maps: maps[a, b, c] = sum_jk table_v[a, c, j] field[j, k] table_u[b, c, k], in two steps.

// First step, half[a, c, k] = sum_j table_v[a, c, j] field[j, k]: one thread per result. Neighbouring threads take
// neighbouring k: they read field side by side and table_v as a broadcast.
__device__ inline void field_lines_one(const REAL* table_v, const REAL* field, int lines, int rows, int columns,
                                       REAL* half) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= (long long)lines * columns) return;
  const int line = int(at / columns), k = int(at % columns);
  REAL sum = 0;
  for (int j = 0; j < rows; ++j) sum += table_v[(long long)line * rows + j] * field[(long long)j * columns + k];
  half[at] = sum;
}

KERNEL(field_lines, field_lines_one, THREADS)

#define TILE 16

// Second step, maps[a, b, c] = sum_k half[a, c, k] table_u[b, c, k]: a product of matrices per component. A block makes
// a tile of 16 x 16 nodes from tiles of both factors in shared memory (rows one longer than the tile: no two threads of
// a warp meet in a bank); each thread keeps the C results of its node and stores them together.
__device__ inline void field_maps_one(const REAL* half, const REAL* table_u, int nodes_v, int nodes_u, int columns,
                                      REAL* maps) {
  __shared__ REAL from_v[TILE][TILE + 1], from_u[TILE][TILE + 1];
  const int x = threadIdx.x, y = threadIdx.y;
  const int row_v = blockIdx.y * TILE + y, row_u = blockIdx.x * TILE + y; // that this thread loads
  const int a = blockIdx.y * TILE + y, b = blockIdx.x * TILE + x;         // that it computes
  if (int(blockIdx.x) * TILE >= nodes_u || int(blockIdx.y) * TILE >= nodes_v) return; // the whole block
  REAL total[COMPONENTS];
#pragma unroll
  for (int c = 0; c < COMPONENTS; ++c) {
    REAL sum = 0;
    for (int k = 0; k < columns; k += TILE) {
      const bool there = k + x < columns;
      from_v[y][x] = there && row_v < nodes_v ? half[((long long)row_v * COMPONENTS + c) * columns + k + x] : REAL(0);
      from_u[y][x] = there && row_u < nodes_u ? table_u[((long long)row_u * COMPONENTS + c) * columns + k + x] : REAL(0);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < TILE; ++i) sum += from_v[y][i] * from_u[x][i];
      __syncthreads();
    }
    total[c] = sum;
  }
  if (a < nodes_v && b < nodes_u) store_components(maps + ((long long)a * nodes_u + b) * COMPONENTS, total);
}

KERNEL(field_maps, field_maps_one, TILE * TILE)
