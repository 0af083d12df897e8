// The edges that leave one state of a recurrent cell, at one time step: every candidate's highway update, weighted
// and added to the sums of the target nodes in one pass. Nothing but the matrix product's result is kept for the
// backward pass: the activations are computed again, which costs less than fetching them.

#include <omp.h>

#include <cstring>

#include "vectors.h"

namespace {

using nas::Buffer;
using nas::Channels;

enum { TANH, RELU, SIGMOID, IDENTITY, SLOTS };

// Laid out as `Call` in recurrent.py. Null: not asked for.
template <typename T>
struct Call {
  int64_t rows, edges, c, threads;
  const T* products;   // [B][M][2][H]: of the gate and of the candidates
  const T* state;      // [B][H]
  const T* weights;    // [M][SLOTS]: the op weights
  T* sums;             // [B], a row `sums_stride` after the other, [M][H] each: sums, or gradients of them
  int64_t sums_stride;
  int64_t fresh;       // whether nothing has been added to the sums yet
  T* d_products;       // [B][M][2][H]
  T* d_state;          // [B][H], added to
  double* d_weights;   // [M][SLOTS], added to
};

template <typename T>
struct Number;

template <>
struct Number<float> {
  typedef int32_t Int;
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr float round = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
};

template <>
struct Number<double> {
  typedef int64_t Int;
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr double round = 6755399441055744.0, ln2_high = 6.93147180369123816490e-01,
                          ln2_low = 1.90821492927058770002e-10;
};

template <typename T>
struct Pass : Channels<T, nas::WIDE<T>> {
  static constexpr int VS = nas::WIDE<T>;
  using Base = Channels<T, VS>;
  using typename Base::V;
  using N = Number<T>;
  typedef typename N::Int I __attribute__((vector_size(VS * sizeof(T)), aligned(sizeof(T)), may_alias));

  const Call<T>& call;
  explicit Pass(const Call<T>& call_) : Base(call_.c), call(call_) {}

  static V all(T value) { return Base::zero() + value; }

  // exp(x) - 1, exact to the last bits also near 0; beyond 40 as at 40. NaN stays NaN.
  static V expm1(V x) {
    x = x < all(T(-40)) ? all(T(-40)) : x;
    x = x > all(T(40)) ? all(T(40)) : x;
    const V shifted = x * T(1.44269504088896340736) + N::round;
    const V n = shifted - N::round;
    const V r = (x - n * N::ln2_high) - n * N::ln2_low;
    V sum = Base::zero();
    T inverse = 1;
    T factors[N::terms + 1];
    for (int k = 1; k <= N::terms; ++k) factors[k] = inverse /= T(k);
    for (int k = N::terms; k >= 2; --k) sum = sum * r + factors[k];
    sum = sum * r * r + r;
    I bits, base;
    const V round = all(N::round);
    std::memcpy(&bits, &shifted, sizeof(bits));
    std::memcpy(&base, &round, sizeof(base));
    bits = (bits - base + N::bias) << N::mantissa;
    V power;
    std::memcpy(&power, &bits, sizeof(power));
    return power * sum + (power - T(1));
  }

  struct Values {
    V gate, h, tanh, relu, sigmoid;
  };

  static Values values(V c, V h) {
    const V one = expm1(-h), two = one * (one + T(2));
    const V positive = h <= Base::zero() ? Base::zero() : h;
    return {T(1) / (expm1(-c) + T(2)), h, -two / (two + T(2)), positive, T(1) / (one + T(2))};
  }

  // An edge's op weights, and their sum: what the state itself counts.
  struct Weights {
    V tanh, relu, sigmoid, identity, total;
    explicit Weights(const T* w)
        : tanh(all(w[TANH])), relu(all(w[RELU])), sigmoid(all(w[SIGMOID])), identity(all(w[IDENTITY])),
          total(tanh + relu + sigmoid + identity) {}
    V mix(const Values& v) const { return tanh * v.tanh + relu * v.relu + sigmoid * v.sigmoid + identity * v.h; }
  };

  void forward() const {
    const int64_t M = call.edges, H = this->C;
#pragma omp parallel for num_threads(int(call.threads)) if (call.threads > 1)
    for (int64_t b = 0; b < call.rows; ++b)
      for (int64_t m = 0; m < M; ++m) {
        const T* products = call.products + (b * M + m) * 2 * H;
        const T* state = call.state + b * H;
        T* sums = call.sums + b * call.sums_stride + m * H;
        const Weights w(call.weights + m * SLOTS);
        for (int64_t k = 0; k < H; k += VS) {
          const Values v = values(this->get(products, k), this->get(products + H, k));
          const V past = w.total * this->get(state, k);
          const V term = past + v.gate * (w.mix(v) - past);
          this->put(sums, k, call.fresh ? term : this->get(sums, k) + term);
        }
      }
  }

  void backward() const {
    const int64_t M = call.edges, H = this->C, threads = call.threads;
    std::vector<double> partial(threads * M * SLOTS, 0.0);
#pragma omp parallel for num_threads(int(threads)) if (threads > 1)
    for (int64_t b = 0; b < call.rows; ++b)
      for (int64_t m = 0; m < M; ++m) {
        const T* products = call.products + (b * M + m) * 2 * H;
        T* d_products = call.d_products + (b * M + m) * 2 * H;
        const T* state = call.state + b * H;
        T* d_state = call.d_state + b * H;
        const T* gradient = call.sums + b * call.sums_stride + m * H;
        const Weights w(call.weights + m * SLOTS);
        V found[SLOTS] = {Base::zero(), Base::zero(), Base::zero(), Base::zero()}, past = Base::zero();
        for (int64_t k = 0; k < H; k += VS) {
          // Beyond the last unit everything is read as 0, the gradient too, which keeps it out of all sums.
          const V g = this->get(gradient, k), s = this->get(state, k);
          const Values v = values(this->get(products, k), this->get(products + H, k));
          const V open = g * v.gate, shut = g - open;
          this->put(d_products, k, (w.mix(v) - w.total * s) * open * (T(1) - v.gate));
          const V slope = w.tanh * (T(1) - v.tanh * v.tanh) + w.sigmoid * v.sigmoid * (T(1) - v.sigmoid) + w.identity;
          this->put(d_products + H, k, open * (slope + (v.h > Base::zero() ? w.relu : Base::zero())));
          this->put(d_state, k, this->get(d_state, k) + w.total * shut);
          past += shut * s;
          found[TANH] += open * v.tanh;
          found[RELU] += open * v.relu;
          found[SIGMOID] += open * v.sigmoid;
          found[IDENTITY] += open * v.h;
        }
        if (!call.d_weights) continue;
        double* own = partial.data() + (omp_get_thread_num() * M + m) * SLOTS;
        for (int slot = 0; slot < SLOTS; ++slot)
          for (int i = 0; i < VS; ++i) own[slot] += double(found[slot][i]) + double(past[i]);
      }
    if (call.d_weights)
      for (int64_t i = 0; i < threads * M * SLOTS; ++i) call.d_weights[i % (M * SLOTS)] += partial[i];
  }
};

}  // namespace

#define ENTRY_POINTS(T, NAME)                                                                     \
  extern "C" void recurrent_forward_##NAME(const Call<T>* call) { Pass<T>(*call).forward(); }     \
  extern "C" void recurrent_backward_##NAME(const Call<T>* call) { Pass<T>(*call).backward(); }

ENTRY_POINTS(float, float)
ENTRY_POINTS(double, double)
