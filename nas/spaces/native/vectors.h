// Vectors of channels and the memory they live in, shared by the kernels next to this file.

#pragma once

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <vector>

namespace nas {

// A vector load that crosses a cache line costs two: scratch memory starts on one, and its rows are whole lines.
template <typename T>
struct LineAllocator {
  typedef T value_type;
  static constexpr std::align_val_t line{64};
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), line)); }
  void deallocate(T* p, size_t) { ::operator delete(p, line); }
  // A size alone leaves the memory as it is: most of it is written before it is read.
  template <typename U>
  void construct(U* p) {
    ::new (static_cast<void*>(p)) U;
  }
  template <typename U, typename A>
  void construct(U* p, const A& value) {
    ::new (static_cast<void*>(p)) U(value);
  }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};

template <typename T>
using Buffer = std::vector<T, LineAllocator<T>>;

// Bytes of this processor's vectors. The compiler takes longer ones too, but cuts them into pieces that do not fit into
// the registers together: sums then go through memory, 4 to 14 times slower (measured with AVX2).
#if defined(__AVX512F__)
constexpr int VECTOR = 64;
#elif defined(__AVX__)
constexpr int VECTOR = 32;
#else
constexpr int VECTOR = 16;
#endif

// Whether it has 32 vector registers or 16, by which loops choose how many sums they keep at once.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;
#else
constexpr bool MANY_REGISTERS = false;
#endif

// Elements of a vector, and of the half one that serves where there are few channels.
template <typename T>
constexpr int WIDE = VECTOR / sizeof(T);
template <typename T>
constexpr int NARROW = WIDE<T> > 2 ? WIDE<T> / 2 : 2;

constexpr int64_t BLOCK = 64;  // pixels that are summed in the working type, before doubles take over

// C channels of a pixel, in memory [pixels][C] or, padded with zeros, [pixels][Cp].
template <typename T, int VS>
struct Channels {
  typedef T V __attribute__((vector_size(VS * sizeof(T)), aligned(sizeof(T)), may_alias));
  typedef double D __attribute__((vector_size(VS * sizeof(double)), aligned(sizeof(double)), may_alias));

  int64_t C, Cp;

  explicit Channels(int64_t c) : C(c), Cp((c + VS - 1) / VS * VS) {}

  static V load(const T* p) { return *(const V*)p; }
  static void store(T* p, V v) { *(V*)p = v; }
  static V zero() { return V{}; }
  // Written so that NaN stays NaN, as torch has it: a run that diverges must be noticed.
  static V at_least(V floor, V v) { return v <= floor ? floor : v; }
  static void accumulate(double* p, V v) { *(D*)p += __builtin_convertvector(v, D); }

  // A vector of channels from or to memory that is not padded; the last one may be partial: masked where the
  // processor can, else kept out of line so that whole ones stay in registers.
  V get(const T* p, int64_t cb) const { return cb + VS <= C ? load(p + cb) : get_part(p + cb, int(C - cb)); }
  void put(T* p, int64_t cb, V v) const {
    if (cb + VS <= C) store(p + cb, v);
    else put_part(p + cb, int(C - cb), v);
  }
  // The same where it is known whether the vector is whole, and of a partial one how many channels are left.
  template <bool WHOLE>
  static V get(const T* p, int left) {
    return WHOLE ? load(p) : get_part(p, left);
  }
  template <bool WHOLE>
  static void put(T* p, int left, V v) {
    if (WHOLE) store(p, v);
    else put_part(p, left, v);
  }
  // Runs `work(cb, left, whole)` on all vectors of channels. What a loop over pixels reads of `this` must be copied
  // before: the compiler reads it again after each store.
  template <typename Work>
  void each_vector(Work work) const {
    int64_t cb = 0;
    for (; cb + VS <= C; cb += VS) work(cb, VS, std::true_type{});
    if (cb < C) work(cb, int(C - cb), std::false_type{});
  }
#ifdef __AVX512F__
  static constexpr bool MASKED = sizeof(V) == 64;
  static V masked_load(const T* p, int count) {
    if constexpr (sizeof(T) == 4) return (V)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
    else return (V)_mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), p);
  }
  static void masked_store(T* p, int count, V v) {
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, __mmask8((1u << count) - 1), (__m512d)v);
  }
#else
  static constexpr bool MASKED = false;
  static V masked_load(const T*, int) { return zero(); }
  static void masked_store(T*, int, V) {}
#endif
  static V get_part(const T* p, int count) {
    if constexpr (MASKED) return masked_load(p, count);
    else return copied_load(p, count);
  }
  static void put_part(T* p, int count, V v) {
    if constexpr (MASKED) masked_store(p, count, v);
    else copied_store(p, count, v);
  }
  __attribute__((noinline)) static V copied_load(const T* p, int count) {
    alignas(64) T part[VS];
    for (int i = 0; i < VS; ++i) part[i] = i < count ? p[i] : T(0);
    return load(part);
  }
  __attribute__((noinline)) static void copied_store(T* p, int count, V v) {
    alignas(64) T part[VS];
    store(part, v);
    for (int i = 0; i < VS; ++i)
      if (i < count) p[i] = part[i];
  }
  template <typename From>
  Buffer<T> pad_vector(const From* v) const {
    Buffer<T> out(Cp, T(0));
    for (int64_t c = 0; v && c < C; ++c) out[c] = T(v[c]);
    return out;
  }

  // total[0][c] += sum a, total[1][c] += sum a*b over padded pixels; four chains, so that no addition waits.
  void statistics(const T* a, const T* b, int64_t pixels, double* total) const {
    for (int64_t cb = 0; cb < Cp; cb += VS)
      for (int64_t start = 0; start < pixels; start += BLOCK) {
        V one[4] = {zero(), zero(), zero(), zero()}, two[4] = {zero(), zero(), zero(), zero()};
        const int64_t end = std::min(pixels, start + BLOCK);
        int64_t p = start;
        for (; p + 4 <= end; p += 4)
          for (int i = 0; i < 4; ++i) {
            const V v = load(a + (p + i) * Cp + cb);
            one[i] += v;
            two[i] += v * load(b + (p + i) * Cp + cb);
          }
        for (; p < end; ++p) {
          const V v = load(a + p * Cp + cb);
          one[0] += v;
          two[0] += v * load(b + p * Cp + cb);
        }
        accumulate(total + cb, (one[0] + one[1]) + (one[2] + one[3]));
        accumulate(total + Cp + cb, (two[0] + two[1]) + (two[2] + two[3]));
      }
  }

  // total[0][c] += sum z, total[1][c] += sum z^2 over padded pixels, taken around one of them and moved back in double:
  // where the mean is far from 0, squares of floats would leave nothing of the variance.
  void moments(const T* z, int64_t pixels, double* total) const {
    for (int64_t cb = 0; cb < Cp; cb += VS)
      for (int64_t start = 0; start < pixels; start += BLOCK) {
        const V shift = load(z + start * Cp + cb);
        V one[4] = {zero(), zero(), zero(), zero()}, two[4] = {zero(), zero(), zero(), zero()};
        const int64_t end = std::min(pixels, start + BLOCK);
        int64_t p = start;
        for (; p + 4 <= end; p += 4)
          for (int i = 0; i < 4; ++i) {
            const V v = load(z + (p + i) * Cp + cb) - shift;
            one[i] += v;
            two[i] += v * v;
          }
        for (; p < end; ++p) {
          const V v = load(z + p * Cp + cb) - shift;
          one[0] += v;
          two[0] += v * v;
        }
        const D moved = __builtin_convertvector((one[0] + one[1]) + (one[2] + one[3]), D);
        const D squares = __builtin_convertvector((two[0] + two[1]) + (two[2] + two[3]), D);
        const D by = __builtin_convertvector(shift, D);
        const double count = double(end - start);
        *(D*)(total + cb) += moved + count * by;
        *(D*)(total + Cp + cb) += squares + 2 * by * moved + count * by * by;
      }
  }

  // out[r][c] = sum over threads of partial[thread][offset + r*Cp + c], a thread's part being `size` long.
  void fold(const Buffer<double>& partial, int threads, int64_t size, int64_t offset, int64_t rows,
            double* out) const {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0;
        for (int t = 0; t < threads; ++t) sum += partial[t * size + offset + r * Cp + c];
        out[r * C + c] = sum;
      }
  }
};

// Batch norm's mean and 1/std of one channel from its sums, and the running statistics as torch moves them.
template <typename T>
void normalise(double sum, double squares, int64_t count, double eps, double momentum, double* mean, double* invstd,
               T* running_mean, T* running_var) {
  *mean = sum / count;
  const double variance = squares / count - *mean * *mean;
  const double positive = variance < 0 ? 0 : variance;  // NaN stays
  *invstd = 1 / __builtin_sqrt(positive + eps);
  const double unbiased = positive * count / std::max<int64_t>(1, count - 1);
  *running_mean = T(*running_mean + momentum * (*mean - *running_mean));
  *running_var = T(*running_var + momentum * (unbiased - *running_var));
}

// The same from running statistics, as they are.
template <typename T>
void normalise_as_known(double eps, double* mean, double* invstd, const T* running_mean, const T* running_var) {
  *mean = *running_mean;
  *invstd = 1 / __builtin_sqrt(*running_var + eps);
}

}  // namespace nas
