// CUDA's words for a C++ compiler: the kernels run on a CPU, one thread of a block after another, each on a stack of its
// own so that it can wait at a barrier while the others go on. All in one system thread: nothing here is atomic, and
// nothing needs to be. Shared memory is filled with NaN before each block, so that reading what nobody wrote is seen.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

using std::min;

struct Index {
  unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __launch_bounds__(...)
// All threads read the same copy.
#define GIVEN const Calls&
// Blocks run one after another: one copy of shared memory serves them all.
#define __shared__ static
#define SHIM_MOST_SHARED (227 * 1024) // of one block on an H100 or H200
alignas(16) static unsigned char dynamic_shared[SHIM_MOST_SHARED];
#define DYNAMIC_SHARED(TYPE, NAME) TYPE* NAME = reinterpret_cast<TYPE*>(dynamic_shared)

namespace shim {

constexpr int MOST_THREADS = 1024, WARP = 32;
constexpr size_t STACK = 64 * 1024;

struct Fibre {
  ucontext_t first;
  jmp_buf here;
  char* stack;
  bool begun, finished;
};
static Fibre fibres[MOST_THREADS];
static jmp_buf scheduler;
static int current, threads, ended;
static bool progress;
static void (*body)();

// Threads that have arrived at the block's barrier or their warp's one, and how often it has opened.
struct Barrier {
  int waiting, opened;
};
static Barrier of_block, of_warp[MOST_THREADS / WARP];
static unsigned ballot[MOST_THREADS / WARP];

static void to_scheduler() {
  if (!_setjmp(fibres[current].here)) _longjmp(scheduler, 1);
}

static void wait(Barrier& barrier, int members) {
  const int before = barrier.opened;
  if (++barrier.waiting == members) {
    barrier.waiting = 0;
    ++barrier.opened;
    progress = true;
    return;
  }
  while (barrier.opened == before) to_scheduler();
}

static void wait_for_warp() {
  const int warp = current / WARP;
  wait(of_warp[warp], min(WARP, threads - warp * WARP));
}

static void enter_fibre() {
  for (;;) { // a fibre is used again for the next block
    body();
    fibres[current].finished = progress = true;
    ++ended;
    to_scheduler();
  }
}

static void resume(int thread) {
  Fibre& fibre = fibres[thread];
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
  if (_setjmp(scheduler)) return;
  if (fibre.begun) _longjmp(fibre.here, 1);
  fibre.begun = true;
  fibre.stack = static_cast<char*>(malloc(STACK));
  getcontext(&fibre.first);
  fibre.first.uc_stack.ss_sp = fibre.stack;
  fibre.first.uc_stack.ss_size = STACK;
  makecontext(&fibre.first, enter_fibre, 0);
  setcontext(&fibre.first);
}

// False where threads wait for others that have ended: on a device that block would hang, or go on with wrong numbers.
static bool run_block(bool backwards) {
  ended = of_block.waiting = 0;
  for (auto& warp : of_warp) warp.waiting = 0;
  for (int t = 0; t < threads; ++t) fibres[t].finished = false;
  while (ended < threads) {
    progress = false;
    for (int i = 0; i < threads; ++i) {
      const int t = backwards ? threads - 1 - i : i;
      if (!fibres[t].finished) resume(t);
    }
    if (!progress) return false;
  }
  return true;
}

} // namespace shim

inline void __syncthreads() { shim::wait(shim::of_block, shim::threads); }

inline unsigned __ballot_sync(unsigned, bool vote) {
  const int warp = shim::current / shim::WARP;
  const unsigned lane = 1u << (shim::current % shim::WARP);
  shim::ballot[warp] = vote ? shim::ballot[warp] | lane : shim::ballot[warp] & ~lane;
  shim::wait_for_warp();
  const unsigned result = shim::ballot[warp];
  shim::wait_for_warp(); // nobody votes again before all have read
  return result;
}

inline void __syncwarp() { shim::wait_for_warp(); }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline long long __double_as_longlong(double value) {
  long long bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline double __longlong_as_double(long long bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned long long atomicCAS(unsigned long long* at, unsigned long long expected, unsigned long long value) {
  const unsigned long long seen = *at;
  if (seen == expected) *at = value;
  return seen;
}
inline int atomicAdd(int* at, int more) {
  const int seen = *at;
  *at += more;
  return seen;
}

namespace shim {

// What a launch must say: two sizes of three numbers each, bytes of shared memory, and whether threads run backwards.
struct Launch {
  int blocks[3], threads[3], shared, backwards;
};

template <class Call>
int launch(const Launch& how, Call call) {
  static Call* kept;
  kept = &call;
  body = [] { (*kept)(); };
  gridDim = {unsigned(how.blocks[0]), unsigned(how.blocks[1]), unsigned(how.blocks[2])};
  blockDim = {unsigned(how.threads[0]), unsigned(how.threads[1]), unsigned(how.threads[2])};
  threads = int(blockDim.x * blockDim.y * blockDim.z);
  if (threads < 1 || threads > MOST_THREADS || how.shared > SHIM_MOST_SHARED) return 2;
  const int count = how.blocks[0] * how.blocks[1] * how.blocks[2];
  for (int i = 0; i < count; ++i) {
    const int block = how.backwards ? count - 1 - i : i;
    blockIdx = {unsigned(block % how.blocks[0]), unsigned(block / how.blocks[0] % how.blocks[1]),
                unsigned(block / how.blocks[0] / how.blocks[1])};
    memset(dynamic_shared, 0xff, how.shared);
    if (!run_block(how.backwards)) return 1;
  }
  return 0;
}

} // namespace shim

// A kernel as a function that ctypes can call: what it is given by its address, as in cuLaunchKernel.
#define SHIM_ENTRY(NAME)                                                     \
  extern "C" int run_##NAME(const shim::Launch* how, const Calls* calls) {   \
    return shim::launch(*how, [=] { NAME(*calls); });                        \
  }
