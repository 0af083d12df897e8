// The candidates without parameters of a fan-out, added to all its sums in one pass: an op weight times an
// affine-free batch norm is a factor and a summand a channel, so that no normalised tensor is ever stored.

#include <omp.h>

#include "vectors.h"

namespace {

using nas::BLOCK;
using nas::Buffer;
using nas::Channels;

// Laid out as `Call` in terms.py. M sums or gradients and P results, [pixels][C] each. Null: not asked for.
template <typename T>
struct Call {
  int64_t edges, terms, pixels, c, threads;
  double eps, momentum;
  const T* const* results;
  double* norm;             // [P][2][C]: mean and 1/std; 0 and 1 for a term without batch norm
  T* const* running_mean;   // null for a term without batch norm
  T* const* running_var;
  const double* scales;     // [M][P]
  T* const* sums;
  const int64_t* fresh;     // where nothing has been added to a sum yet
  T* const* d_results;
  double* d_scales;
};

// One call: its passes over blocks of pixels, whose rows of results and gradients stay in the cache for all edges.
template <typename T, int VS>
struct Pass : Channels<T, VS> {
  using Base = Channels<T, VS>;
  using typename Base::V;
  const Call<T>& call;
  explicit Pass(const Call<T>& call_) : Base(call_.c), call(call_) {}

  const T* row(const T* from, int64_t p) const { return from + p * this->C; }

  // partial[0][c] += sum a, partial[1][c] += sum a * (b - mean) over the pixels of a block; MOVED: a - mean for a.
  template <bool MOVED>
  void sums(const T* a, const T* b, const T* mean, int64_t start, int64_t stop, double* first, double* second) const {
    for (int64_t cb = 0; cb < this->Cp; cb += VS) {
      V one[2] = {Base::zero(), Base::zero()}, two[2] = {Base::zero(), Base::zero()};
      const V m = Base::load(mean + cb);
      int64_t p = start;
      for (; p + 2 <= stop; p += 2)
        for (int i = 0; i < 2; ++i) {
          const V v = this->get(row(a, p + i), cb) - (MOVED ? m : Base::zero());
          one[i] += v;
          two[i] += v * (this->get(row(b, p + i), cb) - m);
        }
      for (; p < stop; ++p) {
        const V v = this->get(row(a, p), cb) - (MOVED ? m : Base::zero());
        one[0] += v;
        two[0] += v * (this->get(row(b, p), cb) - m);
      }
      if (first) Base::accumulate(first + cb, one[0] + one[1]);
      Base::accumulate(second + cb, two[0] + two[1]);
    }
  }

  // Runs `work(own, start, stop)` on blocks of pixels, each thread with `size` doubles of its own.
  template <typename Work>
  void blocks(Buffer<double>& partial, int64_t size, Work work) const {
#pragma omp parallel num_threads(int(call.threads))
    {
      const int t = omp_get_thread_num(), team = omp_get_num_threads();
      const int64_t end = call.pixels * (t + 1) / team;
      for (int64_t start = call.pixels * t / team; start < end; start += BLOCK)
        work(partial.data() + t * size, start, std::min(end, start + BLOCK));
    }
  }

  // out[pixel] (+)= sum over n inputs of factor[i] * in[i][pixel], + shift.
  void combine(const std::vector<const T*>& in, const std::vector<const T*>& factor, const T* shift, T* out, bool add,
               int64_t start, int64_t stop) const {
    const int n = int(in.size());
    for (int64_t cb = 0; cb < this->Cp; cb += VS)
      for (int64_t p = start; p < stop; ++p) {
        V v = shift ? Base::load(shift + cb) : Base::zero();
        for (int i = 0; i < n; ++i) v += Base::load(factor[i] + cb) * this->get(row(in[i], p), cb);
        T* to = out + p * this->C;
        this->put(to, cb, add ? this->get(to, cb) + v : v);
      }
  }

  void forward() const {
    const int64_t P = call.terms, M = call.edges, C = this->C, Cp = this->Cp;
    const int threads = int(call.threads);
    Buffer<double> partial(threads * P * 2 * Cp, 0.0);
    // Squares are taken around the first pixel, and moved back in double, as `moments` does.
    std::vector<Buffer<T>> around;
    for (int64_t p = 0; p < P; ++p) around.push_back(this->pad_vector(call.results[p]));
    blocks(partial, P * 2 * Cp, [&](double* own, int64_t start, int64_t stop) {
      for (int64_t p = 0; p < P; ++p)
        if (call.running_mean[p])
          sums<true>(call.results[p], call.results[p], around[p].data(), start, stop, own + p * 2 * Cp,
               own + p * 2 * Cp + Cp);
    });
    std::vector<double> total(P * 2 * C);
    this->fold(partial, threads, P * 2 * Cp, 0, P * 2, total.data());
    for (int64_t p = 0; p < P; ++p)
      for (int64_t c = 0; c < C; ++c) {
        double* norm = call.norm + p * 2 * C + c;
        const double moved = total[p * 2 * C + c], by = around[p][c], count = double(call.pixels);
        const double sum = moved + count * by;
        const double squares = total[p * 2 * C + C + c] + 2 * by * moved + count * by * by;
        if (call.running_mean[p])
          nas::normalise(sum, squares, call.pixels, call.eps, call.momentum, norm,
                         norm + C, call.running_mean[p] + c, call.running_var[p] + c);
        else
          norm[0] = 0, norm[C] = 1;
      }
    Buffer<T> factor(M * P * Cp, T(0)), shift(M * Cp, T(0));
    for (int64_t e = 0; e < M; ++e)
      for (int64_t c = 0; c < C; ++c) {
        double moved = 0;
        for (int64_t p = 0; p < P; ++p) {
          const double* norm = call.norm + p * 2 * C + c;
          const double gain = call.scales[e * P + p] * norm[C];
          factor[(e * P + p) * Cp + c] = T(gain);
          moved -= gain * norm[0];
        }
        shift[e * Cp + c] = T(moved);
      }
    const std::vector<const T*> in(call.results, call.results + P);
    std::vector<std::vector<const T*>> factors(M);
    for (int64_t i = 0; i < M * P; ++i) factors[i / P].push_back(factor.data() + i * Cp);
    blocks(partial, 0, [&](double*, int64_t start, int64_t stop) {
      for (int64_t e = 0; e < M; ++e)
        combine(in, factors[e], shift.data() + e * Cp, call.sums[e], !call.fresh[e], start, stop);
    });
  }

  void backward() const {
    const int64_t P = call.terms, M = call.edges, C = this->C, Cp = this->Cp, size = M * (P + 1) * Cp;
    const int threads = int(call.threads);
    Buffer<double> partial(threads * size, 0.0);
    Buffer<T> means;
    for (int64_t p = 0; p < P; ++p) {
      const auto mean = this->pad_vector(call.norm + p * 2 * C);
      means.insert(means.end(), mean.begin(), mean.end());
    }
    // A row an edge: the sum of g, then P sums of g * (z - mean).
    blocks(partial, size, [&](double* own, int64_t start, int64_t stop) {
      for (int64_t e = 0; e < M; ++e, own += (P + 1) * Cp)
        for (int64_t p = 0; p < P; ++p)
          sums<false>(call.sums[e], call.results[p], means.data() + p * Cp, start, stop, p ? nullptr : own,
               own + (p + 1) * Cp);
    });
    std::vector<double> total(M * (P + 1) * C);
    this->fold(partial, threads, size, 0, M * (P + 1), total.data());
    if (call.d_scales)
      for (int64_t e = 0; e < M; ++e)
        for (int64_t p = 0; p < P; ++p) {
          double found = 0;
          for (int64_t c = 0; c < C; ++c)
            found += total[(e * (P + 1) + p + 1) * C + c] * call.norm[(p * 2 + 1) * C + c];
          call.d_scales[e * P + p] = found;
        }
    for (int64_t p = 0; p < P; ++p)
      if (call.d_results[p]) input_gradient(p, total);
  }

  // dz = sum over edges of gain * (g - mean(g) - normalised z * mean(g * normalised z)); without batch norm gain * g.
  void input_gradient(int64_t p, const std::vector<double>& total) const {
    const int64_t P = call.terms, M = call.edges, C = this->C, Cp = this->Cp;
    const bool normed = call.running_mean[p];
    Buffer<T> factor((M + 1) * Cp, T(0)), shift(Cp, T(0));
    for (int64_t c = 0; c < C; ++c) {
      const double mean = call.norm[p * 2 * C + c], invstd = call.norm[(p * 2 + 1) * C + c];
      double slope = 0, moved = 0;
      for (int64_t e = 0; e < M; ++e) {
        const double gain = call.scales[e * P + p] * invstd;
        factor[e * Cp + c] = T(gain);
        moved -= gain * total[e * (P + 1) * C + c] / call.pixels;
        slope -= gain * invstd * invstd * total[(e * (P + 1) + p + 1) * C + c] / call.pixels;
      }
      factor[M * Cp + c] = T(slope);
      shift[c] = T(moved - slope * mean);
    }
    std::vector<const T*> in(call.sums, call.sums + M), factors;
    if (normed) in.push_back(call.results[p]);
    for (size_t i = 0; i < in.size(); ++i) factors.push_back(factor.data() + i * Cp);
    Buffer<double> none;
    blocks(none, 0, [&](double*, int64_t start, int64_t stop) {
      combine(in, factors, normed ? shift.data() : nullptr, call.d_results[p], false, start, stop);
    });
  }
};

}  // namespace

#define ENTRY_POINTS(T, NAME, WIDE, NARROW)                                                         \
  extern "C" void terms_forward_##NAME(const Call<T>* call) {                                       \
    call->c > NARROW ? Pass<T, WIDE>(*call).forward() : Pass<T, NARROW>(*call).forward();           \
  }                                                                                                 \
  extern "C" void terms_backward_##NAME(const Call<T>* call) {                                      \
    call->c > NARROW ? Pass<T, WIDE>(*call).backward() : Pass<T, NARROW>(*call).backward();         \
  }

ENTRY_POINTS(float, float, 16, 8)
ENTRY_POINTS(double, double, 8, 4)
