// A separable candidate over all its edges in one call: one or two steps (`step.h`), the batch norms between them,
// and the weighted sum at the end, going there and back.

#include "step.h"

namespace {

using nas::Buffer;
using nas::Channels;
using nas::Step;

constexpr int STEPS = 2;

// Laid out as `Call` in separable.py. Sums, gradients: M tensors [N, H', W', C]. Weights and results are stacked over
// edges. Null: not asked for.
template <typename T>
struct Call {
  int64_t edges, n, h, w, c;
  int64_t kernel, stride, dilation, steps, threads;
  double eps, momentum;
  const T* x;
  const T *depthwise[STEPS], *pointwise[STEPS];
  T* z[STEPS];
  double* norm[STEPS];  // [M][2][C]: mean and 1/std
  T *running_mean[STEPS], *running_var[STEPS];
  const double* scales;
  T* const* sums;
  const int64_t* fresh;  // where nothing has been added to a sum yet
  T* dx;
  double* dscales;
  T *d_depthwise[STEPS], *d_pointwise[STEPS];

  int64_t out_h() const { return (h - 1) / stride + 1; }
  int64_t out_w() const { return (w - 1) / stride + 1; }
  int64_t pixels() const { return n * out_h() * out_w(); }
};

template <typename T, int VS>
std::vector<Step<T, VS>> steps_of(const Call<T>& call) {
  std::vector<Step<T, VS>> steps;
  for (int s = 0; s < call.steps; ++s)
    steps.emplace_back(call.n, s ? call.out_h() : call.h, s ? call.out_w() : call.w, call.c, int(call.kernel),
                       s ? 1 : int(call.stride), int(call.dilation), int(call.threads));
  return steps;
}

// total = (add ? total : 0) + scale[c] * z + shift[c].
template <typename T, int VS>
void affine_add(T* total, const T* z, const double* scale, const double* shift, int64_t pixels, int64_t C, bool add,
                int threads) {
  const Channels<T, VS> k(C);
  const auto a = k.pad_vector(scale), b = k.pad_vector(shift);
#pragma omp parallel for num_threads(threads)
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t cb = 0; cb < k.Cp; cb += VS) {
      const auto value = k.load(a.data() + cb) * k.get(z + p * C, cb) + k.load(b.data() + cb);
      k.put(total + p * C, cb, add ? k.get(total + p * C, cb) + value : value);
    }
}

// out[0][c] = sum g, out[1][c] = sum g * (z - mean) * invstd over all pixels.
template <typename T, int VS>
void reduce(const T* g, const T* z, const double* mean, const double* invstd, int64_t pixels, int64_t C, double* out,
            int threads) {
  const Channels<T, VS> k(C);
  Buffer<double> partial(threads * 2 * k.Cp, 0.0);
  const auto m = k.pad_vector(mean);
#pragma omp parallel num_threads(threads)
  {
    const int t = omp_get_thread_num(), team = omp_get_num_threads();
    double* own = partial.data() + t * 2 * k.Cp;
    const int64_t end = pixels * (t + 1) / team;
    for (int64_t start = pixels * t / team; start < end; start += nas::BLOCK) {
      const int64_t stop = std::min(end, start + nas::BLOCK);
      for (int64_t cb = 0; cb < k.Cp; cb += VS) {
        auto one = k.zero(), two = k.zero(), three = k.zero(), four = k.zero();
        const auto mc = k.load(m.data() + cb);
        int64_t p = start;
        for (; p + 2 <= stop; p += 2) {
          const auto v = k.get(g + p * C, cb), u = k.get(g + (p + 1) * C, cb);
          one += v;
          two += u;
          three += v * (k.get(z + p * C, cb) - mc);
          four += u * (k.get(z + (p + 1) * C, cb) - mc);
        }
        for (; p < stop; ++p) {
          const auto v = k.get(g + p * C, cb);
          one += v;
          three += v * (k.get(z + p * C, cb) - mc);
        }
        k.accumulate(own + cb, one + two);
        k.accumulate(own + k.Cp + cb, three + four);
      }
    }
  }
  k.fold(partial, threads, 2 * k.Cp, 0, 2, out);
  for (int64_t c = 0; c < C; ++c) out[C + c] *= invstd[c];
}

template <typename T, int VS>
void forward(const Call<T>& call) {
  auto steps = steps_of<T, VS>(call);
  const int64_t C = call.c, pixels = call.pixels(), taps = call.kernel * call.kernel;
  std::vector<double> stats(2 * C), scale(C), shift(C);
  for (int64_t e = 0; e < call.edges; ++e) {
    const T* source = call.x;
    const double* before = nullptr;
    for (int s = 0; s < call.steps; ++s) {
      T* z = call.z[s] + e * pixels * C;
      steps[s].forward(source, before, before ? before + C : nullptr, call.depthwise[s] + e * C * taps,
                       call.pointwise[s] + e * C * C, z, stats.data());
      double* norm = call.norm[s] + e * 2 * C;
      for (int64_t c = 0; c < C; ++c)
        nas::normalise(stats[c], stats[C + c], pixels, call.eps, call.momentum, norm + c, norm + C + c,
                       call.running_mean[s] + e * C + c, call.running_var[s] + e * C + c);
      source = z;
      before = norm;
    }
    for (int64_t c = 0; c < C; ++c) {
      scale[c] = call.scales[e] * before[C + c];
      shift[c] = -scale[c] * before[c];
    }
    affine_add<T, VS>(call.sums[e], source, scale.data(), shift.data(), pixels, C, !call.fresh[e],
                      int(call.threads));
  }
}

// [3][C] with dz = a*g + b*z + c, batch norm's backward pass, from its two sums [2][C].
void coefficients_of(const double* sums, const double* norm, double scale, int64_t count, int64_t C, double* out) {
  for (int64_t c = 0; c < C; ++c) {
    const double mean = norm[c], invstd = norm[C + c], gain = scale * invstd;
    const double slope = gain * invstd * sums[C + c] / count;
    out[c] = gain;
    out[C + c] = -slope;
    out[2 * C + c] = slope * mean - gain * sums[c] / count;
  }
}

template <typename T, int VS>
void backward(const Call<T>& call) {
  const int64_t C = call.c, pixels = call.pixels(), taps = call.kernel * call.kernel;
  const bool weights = call.d_depthwise[0], deeper = call.dx || weights;
  std::vector<double> sums(2 * C), coefficients(3 * C), ddw(taps * C), dpw(C * C);
  std::vector<Step<T, VS>> steps;
  Buffer<T> hidden;
  if (deeper) {
    steps = steps_of<T, VS>(call);
    for (auto& step : steps) step.prepare_backward();
    hidden.resize(call.steps > 1 ? pixels * C : 0);
  }
  for (int64_t e = 0; e < call.edges; ++e) {
    const int64_t image = e * pixels * C;
    const int last = int(call.steps) - 1;
    const T* g = call.sums[e];
    const double* norm = call.norm[last] + e * 2 * C;
    reduce<T, VS>(g, call.z[last] + image, norm, norm + C, pixels, C, sums.data(), int(call.threads));
    double dscale = 0;
    for (int64_t c = 0; c < C; ++c) dscale += sums[C + c];
    call.dscales[e] = dscale;
    if (!deeper) continue;
    coefficients_of(sums.data(), norm, call.scales[e], pixels, C, coefficients.data());
    for (int s = last; s >= 0; --s) {
      const double* before = s ? call.norm[s - 1] + e * 2 * C : nullptr;
      steps[s].backward(g, call.z[s] + image, coefficients.data(), s ? call.z[s - 1] + image : call.x, before,
                        s ? before + C : nullptr, call.depthwise[s] + e * C * taps, call.pointwise[s] + e * C * C,
                        s ? hidden.data() : call.dx, !s && e > 0, s ? sums.data() : nullptr,
                        weights ? ddw.data() : nullptr, weights ? dpw.data() : nullptr);
      if (weights) {
        T *to_dw = call.d_depthwise[s] + e * C * taps, *to_pw = call.d_pointwise[s] + e * C * C;
        for (int64_t c = 0; c < C; ++c)
          for (int64_t tap = 0; tap < taps; ++tap) to_dw[c * taps + tap] = T(ddw[tap * C + c]);
        std::copy_n(dpw.data(), C * C, to_pw);
      }
      if (!s) break;
      coefficients_of(sums.data(), before, 1, pixels, C, coefficients.data());
      g = hidden.data();
    }
  }
}

}  // namespace

#define ENTRY_POINTS(T, NAME, WIDE, NARROW)                                 \
  extern "C" void separable_forward_##NAME(const Call<T>* call) {           \
    call->c > NARROW ? forward<T, WIDE>(*call) : forward<T, NARROW>(*call); \
  }                                                                         \
  extern "C" void separable_backward_##NAME(const Call<T>* call) {          \
    call->c > NARROW ? backward<T, WIDE>(*call) : backward<T, NARROW>(*call); \
  }

ENTRY_POINTS(float, float, 16, 8)
ENTRY_POINTS(double, double, 8, 4)
