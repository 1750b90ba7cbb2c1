// What all CUDA kernels share. They are compiled as one text, for one real type and one number of components:
//   REAL        float or double: type of tables, weights and maps
//   COMPONENTS  Gaussians of the mixture; known to the compiler, so that a voxel's weights stay in registers
// Names, order of arguments and meaning are those of the NumPy twins, followed by the sizes and the results.
// No standard header is included: NVRTC, which compiles this on the user's machine, has none.

#ifndef REAL
#define REAL float
#endif
#ifndef COMPONENTS
#define COMPONENTS 12
#endif

// Shared memory whose size the caller states at the launch.
#ifndef DYNAMIC_SHARED
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#define DYNAMIC_SHARED(TYPE, NAME) TYPE* NAME = reinterpret_cast<TYPE*>(dynamic_shared)
#endif

// What a launch is given: the arguments of one call after another, 8 bytes each, among the kernel's own parameters, of
// which a launch takes 4 KB. Blocks along z take a call each. So what is done for every beam takes one launch for all, and
// no memory for pointers to theirs. The other sizes of the grid are the largest that a call needs: blocks, too, must see
// that they have nothing to do.
#define CALL_WORDS 512
struct Calls {
  long long words[CALL_WORDS];
};
#ifndef GIVEN
#define GIVEN const __grid_constant__ Calls
#endif

template <class T>
struct Type {};
__device__ inline double argument(Type<double>, long long word) { return __longlong_as_double(word); }
template <class T>
__device__ inline T argument(Type<T>, long long word) {
  return (T)word; // a number or an address
}

template <int... I>
struct Numbers {};
template <int N, int... I>
struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <int... I>
struct UpTo<0, I...> {
  using All = Numbers<I...>;
};

template <auto BODY, class... P, int... I>
__device__ inline void call_with(void (*)(P...), const long long* words, Numbers<I...>) {
  BODY(argument(Type<P>(), words[I])...);
}
template <auto BODY, class... P>
__device__ inline void call(void (*body)(P...), const Calls& calls) {
  call_with<BODY>(body, calls.words + blockIdx.z * sizeof...(P), typename UpTo<sizeof...(P)>::All());
}

// A kernel that runs BODY, a function for one call, with so many threads per block at most.
#define KERNEL(NAME, BODY, ...)                                               \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) NAME(GIVEN calls) { \
    call<BODY>(BODY, calls);                                                  \
  }

#define THREADS 128        // of a block at most, where no other number is stated
#define LINES_PER_THREAD 4 // cells of a lattice column that one thread of `write_rows` holds in registers

// 16 bytes, which one instruction loads or stores.
struct alignas(16) Quad {
  REAL part[16 / sizeof(REAL)];
};
#define QUAD int(16 / sizeof(REAL))

// The C numbers of one voxel or map node into registers; 16 bytes at a time where every row of C begins on such a
// boundary. A warp then uses every byte of the lines that it touches, though its threads lie C numbers apart.
__device__ inline void load_components(const REAL* row, REAL (&held)[COMPONENTS]) {
  if constexpr (COMPONENTS % QUAD == 0) {
    const Quad* quads = reinterpret_cast<const Quad*>(row);
#pragma unroll
    for (int q = 0; q < COMPONENTS / QUAD; ++q) {
      const Quad quad = quads[q];
#pragma unroll
      for (int i = 0; i < QUAD; ++i) held[q * QUAD + i] = quad.part[i];
    }
  } else {
#pragma unroll
    for (int c = 0; c < COMPONENTS; ++c) held[c] = row[c];
  }
}

__device__ inline void store_components(REAL* row, const REAL (&held)[COMPONENTS]) {
  if constexpr (COMPONENTS % QUAD == 0) {
    Quad* quads = reinterpret_cast<Quad*>(row);
#pragma unroll
    for (int q = 0; q < COMPONENTS / QUAD; ++q) {
      Quad quad;
#pragma unroll
      for (int i = 0; i < QUAD; ++i) quad.part[i] = held[q * QUAD + i];
      quads[q] = quad;
    }
  } else {
#pragma unroll
    for (int c = 0; c < COMPONENTS; ++c) row[c] = held[c];
  }
}

// Quadratic B-spline weights of the three nodes around a point, for an offset of -0.5..0.5 node steps.
__device__ inline void spline_taps(REAL offset, REAL (&taps)[3]) {
  const REAL half = REAL(0.5);
  taps[0] = half * (half - offset) * (half - offset);
  taps[1] = REAL(0.75) - offset * offset;
  taps[2] = half * (half + offset) * (half + offset);
}

// Profiles of a voxel lie in shared memory in rows of this length: whole quads of LINES_PER_THREAD.
__device__ inline int padded(int length) {
  return (length + LINES_PER_THREAD - 1) / LINES_PER_THREAD * LINES_PER_THREAD;
}

// Rows of some voxels from their profiles along[g][c][j] (weighted) and across[g][c][k] in shared memory, padded, `size`
// apart: result[g, b] = output[b] sum_c along[c, row of b] across[c, column of b]. A thread holds LINES_PER_THREAD cells
// of one lattice column in registers: one broadcast load of four numbers and one load serve four multiplications.
// Neighbouring threads take neighbouring columns. first[cell] is the beamlet in a cell of the lattice or -1, next[b]
// another one in the same cell or -1.
template <class T, class OUT>
__device__ void write_rows(const T* along, const T* across, int size, int voxels, int lines, int columns,
                           const int* first, const int* next, const T* output, long long stride, OUT* result) {
  const int rows = padded(lines), strips = rows / LINES_PER_THREAD, tasks = strips * columns;
  for (int task = threadIdx.x; task < voxels * tasks; task += blockDim.x) {
    const int g = task / tasks, line = task % tasks / columns * LINES_PER_THREAD, k = task % columns;
    const T* from_v = along + g * size + line;
    const T* from_u = across + g * size + k;
    T cell[LINES_PER_THREAD] = {};
#pragma unroll
    for (int c = 0; c < COMPONENTS; ++c) {
      const T u = from_u[c * padded(columns)];
#pragma unroll
      for (int i = 0; i < LINES_PER_THREAD; ++i) cell[i] += from_v[c * rows + i] * u;
    }
#pragma unroll
    for (int i = 0; i < LINES_PER_THREAD; ++i) {
      if (line + i >= lines) continue;
      for (int b = first[(line + i) * columns + k]; b >= 0; b = next[b]) result[g * stride + b] = OUT(cell[i] * output[b]);
    }
  }
}

// 1/2 [erf((t - low) / (sqrt(2) sigma)) - erf((t - high) / (sqrt(2) sigma))]; sigma 0 is a sharp edge.
__device__ inline double blurred_square(double t_mm, double centre_mm, double width_mm, double sigma_mm) {
  const double from_low = t_mm - (centre_mm - width_mm / 2), from_high = t_mm - (centre_mm + width_mm / 2);
  if (sigma_mm > 0) {
    const double scale = 0.70710678118654752440 / sigma_mm; // 1 / (sqrt(2) sigma)
    return 0.5 * (erf(from_low * scale) - erf(from_high * scale));
  }
  const double below = (from_low > 0) - (from_low < 0), above = (from_high > 0) - (from_high < 0);
  return 0.5 * (below - above);
}

#define WARP 32
#define EVERY_LANE 0xffffffffu

// Whether a beamlet lies within the cut-off, given squared, of a voxel's place in the isocentre plane. Rounded products and
// sum, not fused: at the edge of the cut-off all backends then decide alike.
__device__ inline bool is_near(double u, double v, double centre_u, double centre_v, double square) {
  const double across = u - centre_u, along = v - centre_v;
  return __dadd_rn(__dmul_rn(across, across), __dmul_rn(along, along)) <= square;
}

// Whether the stored matrix keeps an entry: its beamlet is near and it exceeds the least.
__device__ inline bool is_kept(double value, double u, double v, double centre_u, double centre_v, double square,
                               double least) {
  return value > least && is_near(u, v, centre_u, centre_v, square);
}

// How many lanes before this one voted yes.
__device__ inline int before_lane(unsigned votes, int lane) { return __popc(votes & ((1u << lane) - 1u)); }
