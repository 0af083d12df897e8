// One step of a separable convolution, ReLU -> depthwise k x k -> pointwise 1x1, forward and backward (or without the
// ReLU), with the batch norms around it folded in: the one before into the load, the statistics of the one after into
// the store.
//
// A step works image by image. An image's planes stay in the cache between the loops, so that memory sees one read of
// the input and one write of the output; what lies between them is computed again in the backward pass, not stored.
//
// Layout: images are [N, H, W, C]. In scratch memory channels are padded with zeros to a multiple of a vector, and
// planes are padded by the convolution's reach, so that no inner loop has a boundary. Every sum over pixels is taken
// in the working type a row or an image at a time, and over those in double.
//
// Inner loops keep at least eight independent sums in registers, where there are so many: a fused multiply-add takes
// four cycles, and two start in each.

#pragma once

#include <omp.h>

#include <cstring>
#include <limits>

#include "vectors.h"

// Loops that are compiled by themselves keep what they need in registers; inlined into one another they do not.
#define NOINLINE __attribute__((noinline))

namespace nas {

// The batch norm before a step, (x - mean) * gain + bias a channel; no mean: no norm.
struct Norm {
  const double *mean, *gain, *bias;
  bool affine;
};

template <typename T, int VS>
struct Step : Channels<T, VS> {
  using Base = Channels<T, VS>;
  using typename Base::V;
  using Base::accumulate;
  using Base::C;
  using Base::Cp;
  using Base::get;
  using Base::load;
  using Base::put;
  using Base::store;
  using Base::zero;

  // What one thread needs to work on one image.
  struct Scratch {
    Buffer<T> h, padded, d, dz, dd, dh;
  };

  int64_t N, H, W, Ho, Wo;
  int k, stride, dilation, threads;
  int64_t pad, Hp, Wp, P;
  T floor;  // what the ReLU lets through is above it
  std::vector<Scratch> scratch;

  Step(int64_t n, int64_t h, int64_t w, int64_t c, int k_, int s, int d, int threads_, bool rectify)
      : Base(c), N(n), H(h), W(w), k(k_), stride(s), dilation(d), threads(threads_),
        floor(rectify ? T(0) : -std::numeric_limits<T>::infinity()), scratch(threads_) {
    pad = int64_t(dilation) * (k - 1) / 2;
    Ho = (H - 1) / stride + 1;
    Wo = (W - 1) / stride + 1;
    Hp = H + 2 * pad;
    Wp = W + 2 * pad;
    P = Ho * Wo;
    for (Scratch& own : scratch) {
      own.h.assign(Hp * Wp * Cp, T(0));
      own.d.resize(P * Cp);
      own.dz.resize(P * Cp);
    }
  }

  void prepare_backward() {
    for (Scratch& own : scratch) {
      const int64_t far = 2 * (k - 1);  // the margin that stride 2 needs
      own.padded.assign(std::max(Hp * Wp, (Ho + far) * (Wo + far)) * Cp, T(0));
      own.dd.resize(P * Cp);
      own.dh.resize(H * W * Cp);
    }
  }

  // Weights with padded channels: depthwise [k*k][Cp]; pointwise [rows][Cp] with rows of the first index.
  Buffer<T> pad_rows(const T* w, int64_t rows, bool transpose, int64_t padded_rows) const {
    Buffer<T> out(padded_rows * Cp, T(0));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) out[r * Cp + c] = transpose ? w[c * rows + r] : w[r * C + c];
    return out;
  }

  // h = relu(x) or relu((x - mean) * gain + bias), into the middle of a plane that is zero around it.
  template <bool NORM>
  void load_input(const T* x, const T* mean, const T* gain, const T* bias, T* h) const {
    const V least = zero() + floor;
    const int64_t from = C, to = Cp, width = W;
    for (int64_t y = 0; y < H; ++y)
      this->each_vector([&, from, to, width](int64_t cb, int left, auto whole) {
        const V m = NORM ? load(mean + cb) : zero(), a = NORM ? load(gain + cb) : zero(),
                b = NORM ? load(bias + cb) : zero();
        T* row = h + ((y + pad) * Wp + pad) * to + cb;
        const T* in = x + y * width * from + cb;
        for (int64_t i = 0; i < width; ++i, row += to, in += from) {
          const V v = Base::template get<whole>(in, left);
          store(row, Base::at_least(least, NORM ? (v - m) * a + b : v));
        }
      });
  }

  // out[y][x] = sum over taps of in[y*s + ky*d][x*s + kx*d] * w[tap], PB neighbouring pixels at a time.
  template <int K, int PB>
  NOINLINE void taps(const T* in, int64_t width, const T* w, int s, T* out, int64_t cb) const {
    V acc[PB];
    for (int p = 0; p < PB; ++p) acc[p] = zero();
    for (int ky = 0; ky < K; ++ky)
      for (int kx = 0; kx < K; ++kx) {
        const V weight = load(w + (ky * K + kx) * Cp + cb);
        const T* from = in + (int64_t(ky) * dilation * width + int64_t(kx) * dilation) * Cp + cb;
        for (int p = 0; p < PB; ++p) acc[p] += weight * load(from + int64_t(p) * s * Cp);
      }
    for (int p = 0; p < PB; ++p) store(out + p * Cp + cb, acc[p]);
  }

  // The same at stride 1 and dilation DL: every input pixel is loaded once a row of taps.
  template <int K, int PB, int DL>
  NOINLINE void slide(const T* in, int64_t width, const T* w, T* out, int64_t cb) const {
    V acc[PB];
    for (int p = 0; p < PB; ++p) acc[p] = zero();
    for (int ky = 0; ky < K; ++ky) {
      const T* from = in + int64_t(ky) * DL * width * Cp + cb;
      V weight[K];
#pragma GCC unroll 8
      for (int kx = 0; kx < K; ++kx) weight[kx] = load(w + (ky * K + kx) * Cp + cb);
#pragma GCC unroll 32
      for (int j = 0; j < PB + (K - 1) * DL; ++j) {
        const V v = load(from + j * Cp);
#pragma GCC unroll 8
        for (int kx = 0; kx < K; ++kx)
          if (j - kx * DL >= 0 && j - kx * DL < PB) acc[j - kx * DL] += weight[kx] * v;
      }
    }
    for (int p = 0; p < PB; ++p) store(out + p * Cp + cb, acc[p]);
  }

  template <int K, int PB>
  void pixels(const T* in, int64_t width, const T* w, int s, T* out, int64_t cb) const {
    if (s == 1 && dilation == 1) slide<K, PB, 1>(in, width, w, out, cb);
    else if (s == 1 && dilation == 2) slide<K, PB, 2>(in, width, w, out, cb);
    else taps<K, PB>(in, width, w, s, out, cb);
  }

  template <int K>
  void planes(const T* in, int64_t width, const T* w, int s, int64_t rows, int64_t cols, T* out) const {
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t cb = 0; cb < Cp; cb += VS) {
        int64_t x = 0;
        const T* from = in + y * s * width * Cp;
        T* to = out + y * cols * Cp;
        for (; x + 8 <= cols; x += 8) pixels<K, 8>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
        for (; x + 4 <= cols; x += 4) pixels<K, 4>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
        for (; x < cols; ++x) taps<K, 1>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
      }
  }

  void depthwise(const T* in, int64_t width, const T* w, int s, int64_t rows, int64_t cols, T* out) const {
    if (k == 3) planes<3>(in, width, w, s, rows, cols, out);
    else if (k == 5) planes<5>(in, width, w, s, rows, cols, out);
    else planes<7>(in, width, w, s, rows, cols, out);
  }

  // out[p][:] = sum over c of in[p][c] * w[c][:], PB pixels and OB vectors at a time; both of width Cp.
  template <int PB, int OB>
  NOINLINE void mix(const T* in, const T* w, T* out, int64_t ob) const {
    V acc[PB][OB];
    for (int p = 0; p < PB; ++p)
      for (int o = 0; o < OB; ++o) acc[p][o] = zero();
    for (int64_t c = 0; c < C; ++c) {
      V weight[OB];
      for (int o = 0; o < OB; ++o) weight[o] = load(w + c * Cp + ob + o * VS);
      for (int p = 0; p < PB; ++p)
        for (int o = 0; o < OB; ++o) acc[p][o] += weight[o] * in[p * Cp + c];
    }
    for (int p = 0; p < PB; ++p)
      for (int o = 0; o < OB; ++o) store(out + p * Cp + ob + o * VS, acc[p][o]);
  }

  void pointwise(const T* in, const T* w, int64_t count, T* out) const {
    int64_t ob = 0;
    if (MANY_REGISTERS) {
      for (; ob + 5 * VS <= Cp || ob + 3 * VS == Cp; ob += 3 * VS) mix_all<8, 3>(in, w, count, out, ob);
      for (; ob + 2 * VS <= Cp; ob += 2 * VS) mix_all<8, 2>(in, w, count, out, ob);
      for (; ob < Cp; ob += VS) mix_all<16, 1>(in, w, count, out, ob);
    } else {
      for (; ob + 2 * VS <= Cp; ob += 2 * VS) mix_all<6, 2>(in, w, count, out, ob);
      for (; ob < Cp; ob += VS) mix_all<12, 1>(in, w, count, out, ob);
    }
  }

  template <int PB, int OB>
  void mix_all(const T* in, const T* w, int64_t count, T* out, int64_t ob) const {
    int64_t p = 0;
    for (; p + PB <= count; p += PB) mix<PB, OB>(in + p * Cp, w, out + p * Cp, ob);
    for (; p + 4 <= count; p += 4) mix<4, OB>(in + p * Cp, w, out + p * Cp, ob);
    for (; p < count; ++p) mix<1, OB>(in + p * Cp, w, out + p * Cp, ob);
  }

  // z = pointwise(depthwise(relu(norm(x)))); stats [2][C] = sums of z and z^2, null: not asked for.
  void forward(const T* x, const Norm& norm, const T* dw, const T* pw, T* z, double* stats) {
    const auto w_dw = pad_rows(dw, k * k, true, k * k);
    const auto w_pw = pad_rows(pw, C, true, Cp);  // [c][o]
    const auto mean = this->pad_vector(norm.mean), gain = this->pad_vector(norm.gain),
               bias = this->pad_vector(norm.bias);
    Buffer<double> partial(threads * 2 * Cp, 0.0);
#pragma omp parallel num_threads(threads)
    {
      // The team may be smaller than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC): cut the work by what there is.
      const int t = omp_get_thread_num(), team = omp_get_num_threads();
      T *h = scratch[t].h.data(), *d = scratch[t].d.data(), *o = scratch[t].dz.data();
      for (int64_t n = N * t / team; n < N * (t + 1) / team; ++n) {
        const T* in = x + n * H * W * C;
        if (norm.mean) load_input<true>(in, mean.data(), gain.data(), bias.data(), h);
        else load_input<false>(in, nullptr, nullptr, nullptr, h);
        // A few rows at a time, so that what lies between the loops stays in the nearest cache.
        for (int64_t y = 0, rows; y < Ho; y += rows) {
          rows = std::min(Ho - y, (nas::BLOCK + Wo - 1) / Wo);
          depthwise(h + y * stride * Wp * Cp, Wp, w_dw.data(), stride, rows, Wo, d);
          T* to = z + (n * P + y * Wo) * C;
          if (C == Cp) o = to;
          pointwise(d, w_pw.data(), rows * Wo, o);
          if (stats) this->moments(o, rows * Wo, partial.data() + t * 2 * Cp);
          if (C == Cp) continue;
          for (int64_t p = 0; p < rows * Wo; ++p)
            for (int64_t cb = 0; cb < Cp; cb += VS) put(to + p * C, cb, load(o + p * Cp + cb));
        }
      }
    }
    if (stats) this->fold(partial, threads, 2 * Cp, 0, 2, stats);
  }

  // dpw[o][c] += sum over pixels of dz[p][o] * d[p][c], CB vectors of c and OB of o at a time.
  template <int CB, int OB>
  NOINLINE void outer(const T* dz, const T* d, int64_t count, double* dpw, int64_t cb, int64_t ob) const {
    V acc[OB][CB];
    for (int o = 0; o < OB; ++o)
      for (int c = 0; c < CB; ++c) acc[o][c] = zero();
    for (int64_t p = 0; p < count; ++p) {
      V v[CB];
      for (int c = 0; c < CB; ++c) v[c] = load(d + p * Cp + cb + c * VS);
      for (int o = 0; o < OB; ++o)
        for (int c = 0; c < CB; ++c) acc[o][c] += v[c] * dz[p * Cp + ob + o];
    }
    for (int o = 0; o < OB; ++o)
      for (int c = 0; c < CB; ++c) accumulate(dpw + (ob + o) * Cp + cb + c * VS, acc[o][c]);
  }

  void pointwise_gradient(const T* dz, const T* d, int64_t count, double* dpw) const {
    constexpr int HALF = VS < 8 ? VS : 8;
    int64_t cb = 0;
    if (MANY_REGISTERS) {
      for (; cb + 5 * VS <= Cp || cb + 3 * VS == Cp; cb += 3 * VS)
        for (int64_t ob = 0; ob < C; ob += HALF) outer<3, HALF>(dz, d, count, dpw, cb, ob);
      for (; cb + 2 * VS <= Cp; cb += 2 * VS)
        for (int64_t ob = 0; ob < C; ob += HALF) outer<2, HALF>(dz, d, count, dpw, cb, ob);
      for (; cb < Cp; cb += VS)
        for (int64_t ob = 0; ob < C; ob += VS) outer<1, VS>(dz, d, count, dpw, cb, ob);
    } else {
      constexpr int FEW = VS < 4 ? VS : 4;
      for (; cb + 2 * VS <= Cp; cb += 2 * VS)
        for (int64_t ob = 0; ob < C; ob += FEW) outer<2, FEW>(dz, d, count, dpw, cb, ob);
      for (; cb < Cp; cb += VS)
        for (int64_t ob = 0; ob < C; ob += HALF) outer<1, HALF>(dz, d, count, dpw, cb, ob);
    }
  }

  // ddw[tap][c] += sum over pixels of dd[p][c] * h[p moved by tap][c], R rows of taps at a time.
  template <int K, int R>
  void depthwise_gradient(const T* dd, const T* h, double* ddw) const {
    for (int64_t cb = 0; cb < Cp; cb += VS) {
      int ky = 0;
      for (; ky + R <= K; ky += R) tap_gradient<K, R>(dd, h, ddw, cb, ky);
      for (; ky < K; ++ky) tap_gradient<K, 1>(dd, h, ddw, cb, ky);
    }
  }

  template <int K, int R>
  NOINLINE void tap_gradient(const T* dd, const T* h, double* ddw, int64_t cb, int ky) const {
    V acc[R * K];
    for (int i = 0; i < R * K; ++i) acc[i] = zero();
    for (int64_t y = 0; y < Ho; ++y) {
      const T* from = h + ((y * stride + int64_t(ky) * dilation) * Wp) * Cp + cb;
      const T* v = dd + y * Wo * Cp + cb;
      for (int64_t x = 0; x < Wo; ++x, v += Cp, from += stride * Cp) {
        const V value = load(v);
        for (int r = 0; r < R; ++r)
          for (int kx = 0; kx < K; ++kx)
            acc[r * K + kx] += value * load(from + (r * Wp + kx) * dilation * Cp);
      }
    }
    for (int i = 0; i < R * K; ++i) accumulate(ddw + (ky * K + i) * Cp + cb, acc[i]);
  }

  // Gradient of the depthwise convolution's input. Stride 1: the same convolution with the kernel turned around, on
  // the gradient padded alike.
  void depthwise_input(const T* dd, const T* w, const T* turned, T* padded, T* dh) const {
    const int64_t margin = stride == 1 ? pad : k - 1, width = Wo + 2 * margin;
    for (int64_t y = 0; y < Ho; ++y)
      std::memcpy(padded + ((y + margin) * width + margin) * Cp, dd + y * Wo * Cp, Wo * Cp * sizeof(T));
    if (stride == 1) return depthwise(padded, Wp, turned, 1, H, W, dh);
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < 2 && x < W; ++x) every_other(padded, width, w, y, x, dh);
  }

  // Stride 2, row y, every other pixel from x on: these meet the same taps, those of one parity (dilation 1) or, a
  // quarter of the pixels, all of them (dilation 2; the others none).
  void every_other(const T* padded, int64_t width, const T* w, int64_t y, int64_t x, T* dh) const {
    const int64_t odd_y = (y + pad) % 2, odd_x = (x + pad) % 2, apart = dilation == 1 ? 2 : 1, count = (W - x + 1) / 2;
    T* out = dh + (y * W + x) * Cp;
    if (dilation == 2 && (odd_y || odd_x)) {
      for (int64_t j = 0; j < count; ++j) std::fill_n(out + 2 * j * Cp, Cp, T(0));
      return;
    }
    const T* from = padded + ((k - 1 + (y + pad) / 2) * width + k - 1 + (x + pad) / 2) * Cp;
    for (int64_t cb = 0; cb < Cp; cb += VS) {
      int64_t j = 0;
      for (; j + 8 <= count; j += 8) collect<8>(from + j * Cp, width, w, odd_y, odd_x, apart, out + 2 * j * Cp, cb);
      for (; j < count; ++j) collect<1>(from + j * Cp, width, w, odd_y, odd_x, apart, out + 2 * j * Cp, cb);
    }
  }

  template <int PB>
  void collect(const T* from, int64_t width, const T* w, int64_t ky0, int64_t kx0, int64_t apart, T* out,
               int64_t cb) const {
    V acc[PB];
    for (int p = 0; p < PB; ++p) acc[p] = zero();
    int64_t row = 0;
    for (int64_t ky = ky0; ky < k; ky += apart, row -= width) {
      const T* at = from + row * Cp + cb;
      for (int64_t kx = kx0; kx < k; kx += apart, at -= Cp) {
        const V weight = load(w + (ky * k + kx) * Cp + cb);
        for (int p = 0; p < PB; ++p) acc[p] += weight * load(at + p * Cp);
      }
    }
    for (int p = 0; p < PB; ++p) store(out + 2 * p * Cp + cb, acc[p]);
  }

  // dz = f*a*g + b*z + c over some pixels.
  void norm_gradient(const T* g, const T* z, const T* a, const T* b, const T* c, T f, int64_t count, T* dz) const {
    const int64_t from = C, to = Cp;
    this->each_vector([=](int64_t cb, int left, auto whole) {
      const V ac = load(a + cb) * f, bc = load(b + cb), cc = load(c + cb);
      for (int64_t p = 0; p < count; ++p)
        store(dz + p * to + cb, ac * Base::template get<whole>(g + p * from + cb, left) +
                                    bc * Base::template get<whole>(z + p * from + cb, left) + cc);
    });
  }

  // A row of the gradient before the ReLU, and its sums of g and g*h, or of g and g*(x - mean).
  template <bool STATS, bool AFFINE>
  void mask(const T* dh, const T* h, const T* x, const T* mean, T* to, bool add, double* total) const {
    const int64_t from = Cp, apart = C, width = W;
    const V least = zero() + floor;
    this->each_vector([=](int64_t cb, int left, auto whole) {
      V one[2] = {zero(), zero()}, two[2] = {zero(), zero()};
      const V m = AFFINE ? load(mean + cb) : zero();
      const auto pixel = [&](int64_t i, int chain) {
        const V hidden = load(h + i * from + cb), v = hidden > least ? load(dh + i * from + cb) : zero();
        T* const out = to + i * apart + cb;
        if (STATS) {
          one[chain] += v;
          two[chain] += v * (AFFINE ? Base::template get<whole>(x + i * apart + cb, left) - m : hidden);
        }
        Base::template put<whole>(out, left, add ? Base::template get<whole>(out, left) + v : v);
      };
      int64_t i = 0;
      for (; i + 2 <= width; i += 2) {
        pixel(i, 0);
        pixel(i + 1, 1);
      }
      for (; i < width; ++i) pixel(i, 0);
      if (!STATS) return;
      accumulate(total + cb, one[0] + one[1]);
      accumulate(total + from + cb, two[0] + two[1]);
    });
  }

  // Given g, the gradient of the normalised output, times `factor` [N] an image, and coefficients [3][C] with
  // dz = a*g + b*z + c (batch norm's backward pass), computes what is asked for (null: not asked for):
  //   gh [N,H,W,C]  gradient before the ReLU, added if `add`; `stats` [2][C] its sums of g and g*h, or, after an
  //                 affine norm, of g and g*(x - mean): dividing h by gamma would lose what a small one hides
  //   ddw [k*k][C], dpw [out C][in C]
  void backward(const T* g, const T* factor, const T* z, const double* coefficients, const T* x, const Norm& norm,
                const T* dw, const T* pw, T* gh, bool add, double* stats, double* ddw, double* dpw) {
    const auto w_dw = pad_rows(dw, k * k, true, k * k);
    Buffer<T> turned(k * k * Cp);
    for (int i = 0; i < k * k; ++i)
      std::copy_n(w_dw.data() + i * Cp, Cp, turned.data() + (k * k - 1 - i) * Cp);
    const auto w_pw = pad_rows(pw, C, false, Cp);  // [o][c]
    const auto a = this->pad_vector(coefficients), b = this->pad_vector(coefficients + C),
               c0 = this->pad_vector(coefficients + 2 * C);
    const auto mean = this->pad_vector(norm.mean), gain = this->pad_vector(norm.gain),
               bias = this->pad_vector(norm.bias);
    const int64_t size = 2 * Cp + k * k * Cp + Cp * Cp;
    Buffer<double> partial(threads * size, 0.0);
#pragma omp parallel num_threads(threads)
    {
      // The team may be smaller than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC): cut the work by what there is.
      const int t = omp_get_thread_num(), team = omp_get_num_threads();
      double* own = partial.data() + t * size;
      Scratch& mine = scratch[t];
      T *h = mine.h.data(), *d = mine.d.data(), *dz = mine.dz.data(), *dd = mine.dd.data(), *dh = mine.dh.data();
      for (int64_t n = N * t / team; n < N * (t + 1) / team; ++n) {
        const T *gn = g + n * P * C, *zn = z + n * P * C;
        const T f = factor ? factor[n] : T(1);
        const T* in = x + n * H * W * C;
        if (norm.mean) load_input<true>(in, mean.data(), gain.data(), bias.data(), h);
        else load_input<false>(in, nullptr, nullptr, nullptr, h);
        for (int64_t y = 0, rows; y < Ho; y += rows) {
          rows = std::min(Ho - y, (2 * nas::BLOCK + Wo - 1) / Wo);
          const int64_t start = y * Wo, count = rows * Wo;
          norm_gradient(gn + start * C, zn + start * C, a.data(), b.data(), c0.data(), f, count, dz);
          if (dpw) {
            depthwise(h + y * stride * Wp * Cp, Wp, w_dw.data(), stride, rows, Wo, d);
            pointwise_gradient(dz, d, count, own + 2 * Cp + k * k * Cp);
          }
          if (gh || ddw) pointwise(dz, w_pw.data(), count, dd + start * Cp);
        }
        if (ddw) {
          double* to = own + 2 * Cp;
          if (k == 3) depthwise_gradient<3, 3>(dd, h, to);
          else if (k == 5) depthwise_gradient<5, MANY_REGISTERS ? 5 : 2>(dd, h, to);
          else depthwise_gradient<7, 1>(dd, h, to);
        }
        if (!gh) continue;
        depthwise_input(dd, w_dw.data(), turned.data(), mine.padded.data(), dh);
        T* out = gh + n * H * W * C;
        for (int64_t y = 0; y < H; ++y) {
          const T *from = dh + y * W * Cp, *hh = h + ((y + pad) * Wp + pad) * Cp, *xx = in + y * W * C;
          T* to = out + y * W * C;
          if (!stats) mask<false, false>(from, hh, xx, nullptr, to, add, nullptr);
          else if (!norm.affine) mask<true, false>(from, hh, xx, nullptr, to, add, own);
          else mask<true, true>(from, hh, xx, mean.data(), to, add, own);
        }
      }
    }
    if (stats) this->fold(partial, threads, size, 0, 2, stats);
    if (ddw) this->fold(partial, threads, size, 2 * Cp, k * k, ddw);
    if (dpw) this->fold(partial, threads, size, 2 * Cp + k * k * Cp, C, dpw);
  }
};

}  // namespace nas
