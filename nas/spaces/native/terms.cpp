// Results of a fan-out's candidates, of all its edges or of one each, added to its sums in one pass: an op weight
// times an affine-free batch norm is a factor and a summand a channel, so that no normalised tensor is ever stored.

#include <omp.h>

#include "vectors.h"

namespace {

using nas::BLOCK;
using nas::Buffer;
using nas::Channels;
using nas::NARROW;
using nas::WIDE;

// Laid out as `Call` in terms.py. M sums or gradients, [pixels][C], and P results, [pixels][C of a longer row].
// Null: not asked for.
template <typename T>
struct Call {
  int64_t edges, terms, pixels, c, threads;
  int64_t fixed;            // forward alone: norms by running statistics, which stay
  double eps, momentum;
  const T* const* results;
  const int64_t* rows;      // [P]: from a pixel of a result to its next one
  const int64_t* held;      // [M][P]: whether a result is added to a sum
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

  bool held(int64_t e, int64_t p) const { return call.held[e * call.terms + p]; }

  // partial[0][c] += sum a, partial[1][c] += sum a * (b - mean) over the pixels of a block; MOVED: a - mean for a.
  template <bool MOVED>
  void sums(const T* a, int64_t a_row, const T* b, int64_t b_row, const T* mean, int64_t start, int64_t stop,
            double* first, double* second) const {
    this->each_vector([=](int64_t cb, int left, auto whole) {
      V one[2] = {Base::zero(), Base::zero()}, two[2] = {Base::zero(), Base::zero()};
      const V m = Base::load(mean + cb);
      const auto pixel = [&](int64_t p, int i) {
        const V v = Base::template get<whole>(a + p * a_row + cb, left) - (MOVED ? m : Base::zero());
        one[i] += v;
        two[i] += v * (Base::template get<whole>(b + p * b_row + cb, left) - m);
      };
      int64_t p = start;
      for (; p + 2 <= stop; p += 2) pixel(p, 0), pixel(p + 1, 1);
      for (; p < stop; ++p) pixel(p, 0);
      if (first) Base::accumulate(first + cb, one[0] + one[1]);
      Base::accumulate(second + cb, two[0] + two[1]);
    });
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

  // Tensors that are added up, each times a factor a channel.
  struct Inputs {
    std::vector<const T*> from, factor;
    std::vector<int64_t> row;
    void add(const T* tensor, int64_t row_, const T* factor_) {
      from.push_back(tensor);
      row.push_back(row_);
      factor.push_back(factor_);
    }
  };

  // out[pixel] (+)= sum over inputs of factor * in[pixel], + shift.
  void combine(const Inputs& in, const T* shift, T* out, int64_t out_row, bool add, int64_t start,
               int64_t stop) const {
    const size_t n = in.from.size();
    size_t first = 0;
    // Some at a time, so that their factors and addresses stay in registers; the block's row stays in the cache.
    for (; n - first > 4; first += 4, shift = nullptr, add = true)
      combine_some<4>(in, first, shift, out, out_row, add, start, stop);
    switch (n - first) {
      case 4: return combine_some<4>(in, first, shift, out, out_row, add, start, stop);
      case 3: return combine_some<3>(in, first, shift, out, out_row, add, start, stop);
      case 2: return combine_some<2>(in, first, shift, out, out_row, add, start, stop);
      case 1: return combine_some<1>(in, first, shift, out, out_row, add, start, stop);
      default: return combine_some<0>(in, first, shift, out, out_row, add, start, stop);
    }
  }

  template <int N>
  void combine_some(const Inputs& in, size_t first, const T* shift, T* out, int64_t out_row, bool add, int64_t start,
                    int64_t stop) const {
    const T* from[N + 1];
    int64_t row[N + 1];
    for (int i = 0; i < N; ++i) from[i] = in.from[first + i], row[i] = in.row[first + i];
    this->each_vector([&, shift, out, out_row, add, start, stop](int64_t cb, int left, auto whole) {
      const V moved = shift ? Base::load(shift + cb) : Base::zero();
      V factor[N + 1];
      for (int i = 0; i < N; ++i) factor[i] = Base::load(in.factor[first + i] + cb);
      for (int64_t p = start; p < stop; ++p) {
        T* const to = out + p * out_row + cb;
        V v = add ? Base::template get<whole>(to, left) + moved : moved;
        for (int i = 0; i < N; ++i) v += factor[i] * Base::template get<whole>(from[i] + p * row[i] + cb, left);
        Base::template put<whole>(to, left, v);
      }
    });
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
        if (call.running_mean[p] && !call.fixed)
          sums<true>(call.results[p], call.rows[p], call.results[p], call.rows[p], around[p].data(), start, stop,
                     own + p * 2 * Cp, own + p * 2 * Cp + Cp);
    });
    std::vector<double> total(P * 2 * C);
    this->fold(partial, threads, P * 2 * Cp, 0, P * 2, total.data());
    for (int64_t p = 0; p < P; ++p)
      for (int64_t c = 0; c < C; ++c) {
        double* norm = call.norm + p * 2 * C + c;
        const double moved = total[p * 2 * C + c], by = around[p][c], count = double(call.pixels);
        const double sum = moved + count * by;
        const double squares = total[p * 2 * C + C + c] + 2 * by * moved + count * by * by;
        if (call.running_mean[p] && call.fixed)
          nas::normalise_as_known(call.eps, norm, norm + C, call.running_mean[p] + c, call.running_var[p] + c);
        else if (call.running_mean[p])
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
          if (!held(e, p)) continue;
          const double* norm = call.norm + p * 2 * C + c;
          const double gain = call.scales[e * P + p] * norm[C];
          factor[(e * P + p) * Cp + c] = T(gain);
          moved -= gain * norm[0];
        }
        shift[e * Cp + c] = T(moved);
      }
    std::vector<Inputs> in(M);
    for (int64_t e = 0; e < M; ++e)
      for (int64_t p = 0; p < P; ++p)
        if (held(e, p)) in[e].add(call.results[p], call.rows[p], factor.data() + (e * P + p) * Cp);
    blocks(partial, 0, [&](double*, int64_t start, int64_t stop) {
      for (int64_t e = 0; e < M; ++e)
        combine(in[e], shift.data() + e * Cp, call.sums[e], C, !call.fresh[e], start, stop);
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
      for (int64_t e = 0; e < M; ++e, own += (P + 1) * Cp) {
        double* first = own;
        for (int64_t p = 0; p < P; ++p) {
          if (!held(e, p)) continue;
          sums<false>(call.sums[e], C, call.results[p], call.rows[p], means.data() + p * Cp, start, stop, first,
                      own + (p + 1) * Cp);
          first = nullptr;
        }
      }
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
    input_gradients(total);
  }

  // dz = sum over edges of gain * (g - mean(g) - normalised z * mean(g * normalised z)); without batch norm gain * g.
  void input_gradients(const std::vector<double>& total) const {
    const int64_t P = call.terms, M = call.edges, C = this->C, Cp = this->Cp;
    Buffer<T> factor(P * (M + 1) * Cp, T(0)), shift(P * Cp, T(0));
    std::vector<Inputs> in(P);
    for (int64_t p = 0; p < P; ++p) {
      T* const own = factor.data() + p * (M + 1) * Cp;
      for (int64_t c = 0; c < C; ++c) {
        const double mean = call.norm[p * 2 * C + c], invstd = call.norm[(p * 2 + 1) * C + c];
        double slope = 0, moved = 0;
        for (int64_t e = 0; e < M; ++e) {
          if (!held(e, p)) continue;
          const double gain = call.scales[e * P + p] * invstd;
          own[e * Cp + c] = T(gain);
          moved -= gain * total[e * (P + 1) * C + c] / call.pixels;
          slope -= gain * invstd * invstd * total[(e * (P + 1) + p + 1) * C + c] / call.pixels;
        }
        own[M * Cp + c] = T(slope);
        shift[p * Cp + c] = T(moved - slope * mean);
      }
      for (int64_t e = 0; e < M; ++e)
        if (held(e, p)) in[p].add(call.sums[e], C, own + e * Cp);
      if (call.running_mean[p]) in[p].add(call.results[p], call.rows[p], own + M * Cp);
    }
    Buffer<double> none;
    blocks(none, 0, [&](double*, int64_t start, int64_t stop) {
      for (int64_t p = 0; p < P; ++p)
        if (call.d_results[p])
          combine(in[p], call.running_mean[p] ? shift.data() + p * Cp : nullptr, call.d_results[p], call.rows[p], false,
                  start, stop);
    });
  }
};

}  // namespace

#define ENTRY_POINTS(T, NAME)                                                                         \
  extern "C" void terms_forward_##NAME(const Call<T>* call) {                                         \
    call->c > NARROW<T> ? Pass<T, WIDE<T>>(*call).forward() : Pass<T, NARROW<T>>(*call).forward();    \
  }                                                                                                   \
  extern "C" void terms_backward_##NAME(const Call<T>* call) {                                        \
    call->c > NARROW<T> ? Pass<T, WIDE<T>>(*call).backward() : Pass<T, NARROW<T>>(*call).backward();  \
  }

ENTRY_POINTS(float, float)
ENTRY_POINTS(double, double)
