// A separable candidate over all its edges in one call: one or two steps (`step.h`), the batch norms between them,
// and the weighted sum at the end, going there and back.

#include "step.h"

namespace {

using nas::Buffer;
using nas::Channels;
using nas::NARROW;
using nas::Norm;
using nas::Step;
using nas::WIDE;

constexpr int STEPS = 2;

// Laid out as `Call` in separable.py. Sums, gradients: M tensors [N, H', W', C]. Weights and results are stacked over
// edges. Null: not asked for; for scales, gamma, beta and factors: ones, zeros for beta.
template <typename T>
struct Call {
  int64_t edges, n, h, w, c;
  int64_t kernel, stride, dilation, steps, threads, rectify;
  int64_t fixed;  // forward alone: norms by running statistics, which stay; z has room for one edge
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
  const T *gamma[STEPS], *beta[STEPS];  // [M][C]
  double *d_gamma[STEPS], *d_beta[STEPS];
  const T* factors;  // [N], on what is added to the sums

  int64_t out_h() const { return (h - 1) / stride + 1; }
  int64_t out_w() const { return (w - 1) / stride + 1; }
  double scale(int64_t e) const { return scales ? scales[e] : 1; }
  int64_t pixels() const { return n * out_h() * out_w(); }
};

template <typename T, int VS>
std::vector<Step<T, VS>> steps_of(const Call<T>& call) {
  std::vector<Step<T, VS>> steps;
  for (int s = 0; s < call.steps; ++s)
    steps.emplace_back(call.n, s ? call.out_h() : call.h, s ? call.out_w() : call.w, call.c, int(call.kernel),
                       s ? 1 : int(call.stride), int(call.dilation), int(call.threads), s || call.rectify);
  return steps;
}

// The batch norm of step s and edge e, from its statistics.
template <typename T>
struct Affine {
  const double* mean;
  std::vector<double> gain, bias;
  bool affine;

  Affine(const Call<T>& call, int s, int64_t e)
      : mean(call.norm[s] + e * 2 * call.c), gain(mean + call.c, mean + 2 * call.c), bias(call.c, 0.0),
        affine(call.gamma[s]) {
    for (int64_t c = 0; affine && c < call.c; ++c) {
      gain[c] *= call.gamma[s][e * call.c + c];
      bias[c] = call.beta[s][e * call.c + c];
    }
  }
  Norm norm() const { return {mean, gain.data(), bias.data(), affine}; }
};

// total = (add ? total : 0) + factor[n] * (scale[c] * z + shift[c]).
template <typename T, int VS>
void affine_add(T* total, const T* z, const double* scale, const double* shift, const T* factor, int64_t images,
                int64_t pixels, int64_t C, bool add, int threads) {
  const Channels<T, VS> k(C);
  const auto a = k.pad_vector(scale), b = k.pad_vector(shift);
  const int64_t part = nas::BLOCK, parts = (pixels + part - 1) / part;
#pragma omp parallel for collapse(2) num_threads(threads)
  for (int64_t n = 0; n < images; ++n)
    for (int64_t block = 0; block < parts; ++block) {
      const int64_t start = n * pixels + block * part, count = std::min(part, pixels - block * part);
      const T f = factor ? factor[n] : T(1);
      T* const to = total + start * C;
      const T* const from = z + start * C;
      k.each_vector([=, &a, &b](int64_t cb, int left, auto whole) {
        using K = Channels<T, VS>;
        const auto ac = K::load(a.data() + cb), bc = K::load(b.data() + cb);
        for (int64_t p = 0; p < count; ++p) {
          T* const out = to + p * C + cb;
          const auto value = (ac * K::template get<whole>(from + p * C + cb, left) + bc) * f;
          K::template put<whole>(out, left, add ? K::template get<whole>(out, left) + value : value);
        }
      });
    }
}

// out[0][c] = sum g, out[1][c] = sum g * (z - mean) * invstd over all pixels, g times the factor of its image.
template <typename T, int VS>
void reduce(const T* g, const T* factor, int64_t images, const T* z, const double* mean, const double* invstd,
            int64_t pixels, int64_t C, double* out, int threads) {
  const Channels<T, VS> k(C);
  Buffer<double> partial(threads * 2 * k.Cp, 0.0);
  const auto m = k.pad_vector(mean);
#pragma omp parallel num_threads(threads)
  {
    const int t = omp_get_thread_num(), team = omp_get_num_threads();
    double* own = partial.data() + t * 2 * k.Cp;
    const int64_t end = pixels * (t + 1) / team, image = factor ? pixels / images : pixels;
    for (int64_t start = pixels * t / team, stop; start < end; start = stop) {
      const int64_t n = start / image;  // a block has one factor
      stop = std::min({end, start + nas::BLOCK, (n + 1) * image});
      const T f = factor ? factor[n] : T(1);
      k.each_vector([=, &k, &m](int64_t cb, int left, auto whole) {
        using K = Channels<T, VS>;
        auto one = k.zero(), two = k.zero(), three = k.zero(), four = k.zero();
        const auto mc = k.load(m.data() + cb);
        const T *gc = g + cb, *zc = z + cb;
        int64_t p = start;
        for (; p + 2 <= stop; p += 2) {
          const auto v = K::template get<whole>(gc + p * C, left), u = K::template get<whole>(gc + (p + 1) * C, left);
          one += v;
          two += u;
          three += v * (K::template get<whole>(zc + p * C, left) - mc);
          four += u * (K::template get<whole>(zc + (p + 1) * C, left) - mc);
        }
        for (; p < stop; ++p) {
          const auto v = K::template get<whole>(gc + p * C, left);
          one += v;
          three += v * (K::template get<whole>(zc + p * C, left) - mc);
        }
        k.accumulate(own + cb, (one + two) * f);
        k.accumulate(own + k.Cp + cb, (three + four) * f);
      });
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
    Norm before{};
    std::vector<Affine<T>> norms;
    norms.reserve(STEPS);
    for (int s = 0; s < call.steps; ++s) {
      T* z = call.z[s] + (call.fixed ? 0 : e * pixels * C);
      steps[s].forward(source, before, call.depthwise[s] + e * C * taps, call.pointwise[s] + e * C * C, z,
                       call.fixed ? nullptr : stats.data());
      double* norm = call.norm[s] + e * 2 * C;
      for (int64_t c = 0; c < C; ++c) {
        T *mean = call.running_mean[s] + e * C + c, *variance = call.running_var[s] + e * C + c;
        if (call.fixed) nas::normalise_as_known(call.eps, norm + c, norm + C + c, mean, variance);
        else
          nas::normalise(stats[c], stats[C + c], pixels, call.eps, call.momentum, norm + c, norm + C + c, mean,
                         variance);
      }
      source = z;
      norms.emplace_back(call, s, e);
      before = norms.back().norm();
    }
    for (int64_t c = 0; c < C; ++c) {
      scale[c] = call.scale(e) * before.gain[c];
      shift[c] = call.scale(e) * before.bias[c] - scale[c] * before.mean[c];
    }
    affine_add<T, VS>(call.sums[e], source, scale.data(), shift.data(), call.factors, call.n, pixels / call.n, C,
                      !call.fresh[e], int(call.threads));
  }
}

// [3][C] with dz = a*g + b*z + c, batch norm's backward pass, from its two sums [2][C].
void coefficients_of(const double* sums, const double* statistics, const Norm& norm, double scale, int64_t count,
                     int64_t C, double* out) {
  for (int64_t c = 0; c < C; ++c) {
    const double mean = statistics[c], invstd = statistics[C + c], gain = scale * norm.gain[c];
    const double slope = gain * invstd * sums[C + c] / count;
    out[c] = gain;
    out[C + c] = -slope;
    out[2 * C + c] = slope * mean - gain * sums[c] / count;
  }
}

template <typename T, int VS>
void backward(const Call<T>& call) {
  const int64_t C = call.c, pixels = call.pixels(), taps = call.kernel * call.kernel;
  const bool weights = call.d_depthwise[0], deeper = call.dx || weights || (call.steps > 1 && call.d_gamma[0]);
  std::vector<double> sums(2 * C), coefficients(3 * C), ddw(taps * C), dpw(C * C);
  std::vector<Step<T, VS>> steps;
  Buffer<T> hidden;
  T* between = nullptr;
  if (deeper) {
    steps = steps_of<T, VS>(call);
    for (auto& step : steps) step.prepare_backward();
    // A step reads an image's gradient before it writes its own: with one edge and one shape, memory for one will do.
    if (call.edges == 1 && call.stride == 1 && call.dx) between = call.dx;
    else if (call.steps > 1) hidden.resize(pixels * C), between = hidden.data();
  }
  for (int64_t e = 0; e < call.edges; ++e) {
    const int64_t image = e * pixels * C;
    const int last = int(call.steps) - 1;
    const T *g = call.sums[e], *factors = call.factors;
    Affine<T> norm(call, last, e);
    reduce<T, VS>(g, factors, call.n, call.z[last] + image, norm.mean, norm.mean + C, pixels, C, sums.data(),
                  int(call.threads));
    if (call.dscales) {
      double dscale = 0;
      for (int64_t c = 0; c < C; ++c) dscale += sums[C + c];
      call.dscales[e] = dscale;
    }
    for (int s = last; s >= 0; --s) {
      if (call.d_gamma[s]) {
        std::copy_n(sums.data() + C, C, call.d_gamma[s] + e * C);
        std::copy_n(sums.data(), C, call.d_beta[s] + e * C);
      }
      if (!deeper) break;
      coefficients_of(sums.data(), norm.mean, norm.norm(), s == last ? call.scale(e) : 1, pixels, C,
                      coefficients.data());
      if (s) norm = Affine<T>(call, s - 1, e);
      steps[s].backward(g, factors, call.z[s] + image, coefficients.data(), s ? call.z[s - 1] + image : call.x,
                        s ? norm.norm() : Norm{}, call.depthwise[s] + e * C * taps, call.pointwise[s] + e * C * C,
                        s ? between : call.dx, !s && e > 0, s ? sums.data() : nullptr,
                        weights ? ddw.data() : nullptr, weights ? dpw.data() : nullptr);
      if (weights) {
        T *to_dw = call.d_depthwise[s] + e * C * taps, *to_pw = call.d_pointwise[s] + e * C * C;
        for (int64_t c = 0; c < C; ++c)
          for (int64_t tap = 0; tap < taps; ++tap) to_dw[c * taps + tap] = T(ddw[tap * C + c]);
        std::copy_n(dpw.data(), C * C, to_pw);
      }
      for (int64_t c = 0; s && norm.affine && c < C; ++c) sums[C + c] *= norm.mean[C + c];
      g = between;
      factors = nullptr;
    }
  }
}

}  // namespace

#define ENTRY_POINTS(T, NAME)                                                                        \
  extern "C" void separable_forward_##NAME(const Call<T>* call) {                                    \
    call->c > NARROW<T> ? forward<T, WIDE<T>>(*call) : forward<T, NARROW<T>>(*call);                 \
  }                                                                                                  \
  extern "C" void separable_backward_##NAME(const Call<T>* call) {                                   \
    call->c > NARROW<T> ? backward<T, WIDE<T>>(*call) : backward<T, NARROW<T>>(*call);               \
  }

ENTRY_POINTS(float, float)
ENTRY_POINTS(double, double)
