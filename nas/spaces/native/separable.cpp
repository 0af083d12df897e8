// One step of a separable convolution, ReLU -> depthwise k x k -> pointwise 1x1, forward and backward, with the batch
// norms around it folded in: the one before into the load, the statistics of the one after into the store.
//
// A step works image by image. An image's planes stay in the cache between the loops, so that memory sees one read of
// the input and one write of the output; what lies between them is computed again in the backward pass, not stored.
//
// Layout: images are [N, H, W, C]. In scratch memory channels are padded with zeros to a multiple of a vector, and
// planes are padded by the convolution's reach, so that no inner loop has a boundary. Every sum over pixels is taken
// in the working type a row or an image at a time, and over those in double.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

template <typename T, int VS>
struct Kernel {
  typedef T V __attribute__((vector_size(VS * sizeof(T)), aligned(sizeof(T)), may_alias));

  int64_t N, H, W, C, Ho, Wo;
  int k, stride, dilation;
  int64_t pad, Cp, Hp, Wp, P;

  Kernel(int64_t n, int64_t h, int64_t w, int64_t c, int k_, int s, int d)
      : N(n), H(h), W(w), C(c), k(k_), stride(s), dilation(d) {
    pad = int64_t(dilation) * (k - 1) / 2;
    Ho = (H - 1) / stride + 1;
    Wo = (W - 1) / stride + 1;
    Cp = (C + VS - 1) / VS * VS;
    Hp = H + 2 * pad;
    Wp = W + 2 * pad;
    P = Ho * Wo;
  }

  static V load(const T* p) { return *(const V*)p; }
  static void store(T* p, V v) { *(V*)p = v; }
  static V zero() { return V{}; }
  // Written so that NaN stays NaN, as torch has it: a run that diverges must be noticed.
  static V relu(V v) { return v <= zero() ? zero() : v; }

  // A vector of channels from or to memory that is not padded; the last one may be partial.
  V get(const T* p, int64_t cb) const {
    if (cb + VS <= C) return load(p + cb);
    V v = zero();
    for (int64_t i = 0; cb + i < C; ++i) v[i] = p[cb + i];
    return v;
  }
  void put(T* p, int64_t cb, V v) const {
    if (cb + VS <= C) return store(p + cb, v);
    for (int64_t i = 0; cb + i < C; ++i) p[cb + i] = v[i];
  }
  std::vector<T> pad_vector(const T* v) const {
    std::vector<T> out(Cp, T(0));
    if (v) std::copy_n(v, C, out.data());
    return out;
  }

  // Weights with padded channels: depthwise [k*k][Cp]; pointwise [rows][Cp] with rows of the first index.
  std::vector<T> pad_rows(const T* w, int64_t rows, bool transpose, int64_t padded_rows) const {
    std::vector<T> out(padded_rows * Cp, T(0));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) out[r * Cp + c] = transpose ? w[c * rows + r] : w[r * C + c];
    return out;
  }

  // h = relu(x) or relu((x - mean) * invstd), into the middle of a plane that is zero around it.
  template <bool NORM>
  void load_input(const T* x, const T* mean, const T* invstd, T* h) const {
    for (int64_t y = 0; y < H; ++y) {
      T* row = h + ((y + pad) * Wp + pad) * Cp;
      const T* in = x + y * W * C;
      for (int64_t i = 0; i < W; ++i, row += Cp, in += C)
        for (int64_t cb = 0; cb < Cp; cb += VS) {
          V v = get(in, cb);
          if (NORM) v = (v - load(mean + cb)) * load(invstd + cb);
          store(row + cb, relu(v));
        }
    }
  }

  // out[y][x] = sum over taps of in[y*s + ky*d][x*s + kx*d] * w[tap], PB neighbouring pixels at a time.
  template <int PB>
  void taps(const T* in, int64_t width, const T* w, int s, T* out, int64_t cb) const {
    V acc[PB];
    for (int p = 0; p < PB; ++p) acc[p] = zero();
    for (int ky = 0; ky < k; ++ky)
      for (int kx = 0; kx < k; ++kx) {
        const V weight = load(w + (ky * k + kx) * Cp + cb);
        const T* from = in + (int64_t(ky) * dilation * width + int64_t(kx) * dilation) * Cp + cb;
        for (int p = 0; p < PB; ++p) acc[p] += weight * load(from + int64_t(p) * s * Cp);
      }
    for (int p = 0; p < PB; ++p) store(out + p * Cp + cb, acc[p]);
  }

  void depthwise(const T* in, int64_t width, const T* w, int s, int64_t rows, int64_t cols, T* out) const {
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t cb = 0; cb < Cp; cb += VS) {
        int64_t x = 0;
        const T* from = in + y * s * width * Cp;
        T* to = out + y * cols * Cp;
        for (; x + 8 <= cols; x += 8) taps<8>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
        for (; x + 4 <= cols; x += 4) taps<4>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
        for (; x < cols; ++x) taps<1>(from + x * s * Cp, width, w, s, to + x * Cp, cb);
      }
  }

  // out[p][:] = sum over c of in[p][c] * w[c][:], PB pixels at a time; both of width Cp.
  template <int PB>
  void mix(const T* in, const T* w, T* out) const {
    for (int64_t ob = 0; ob < Cp; ob += VS) {
      V acc[PB];
      for (int p = 0; p < PB; ++p) acc[p] = zero();
      for (int64_t c = 0; c < C; ++c) {
        const V weight = load(w + c * Cp + ob);
        for (int p = 0; p < PB; ++p) acc[p] += weight * in[p * Cp + c];
      }
      for (int p = 0; p < PB; ++p) store(out + p * Cp + ob, acc[p]);
    }
  }

  void pointwise(const T* in, const T* w, int64_t pixels, T* out) const {
    int64_t p = 0;
    for (; p + 8 <= pixels; p += 8) mix<8>(in + p * Cp, w, out + p * Cp);
    for (; p < pixels; ++p) mix<1>(in + p * Cp, w, out + p * Cp);
  }

  // total[0][c] += sum a, total[1][c] += sum a*b over rows of a plane.
  void statistics(const T* a, const T* b, int64_t pixels, double* total) const {
    for (int64_t cb = 0; cb < Cp; cb += VS)
      for (int64_t start = 0; start < pixels; start += 64) {
        V one = zero(), two = zero();
        const int64_t end = std::min(pixels, start + 64);
        for (int64_t p = start; p < end; ++p) {
          const V v = load(a + p * Cp + cb);
          one += v;
          two += v * load(b + p * Cp + cb);
        }
        for (int i = 0; i < VS; ++i) {
          total[cb + i] += double(one[i]);
          total[Cp + cb + i] += double(two[i]);
        }
      }
  }

  void forward(const T* x, const T* mean, const T* invstd, const T* dw, const T* pw, T* z, double* stats,
               int threads) const {
    const auto w_dw = pad_rows(dw, k * k, true, k * k);
    const auto w_pw = pad_rows(pw, C, true, Cp);  // [c][o]
    const auto m = pad_vector(mean), is = pad_vector(invstd);
    std::vector<double> partial(threads * 2 * Cp, 0.0);
#pragma omp parallel num_threads(threads)
    {
      // The team may be smaller than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC): cut the work by what there is.
      const int t = omp_get_thread_num(), team = omp_get_num_threads();
      std::vector<T> h(Hp * Wp * Cp, T(0)), d(P * Cp), o(P * Cp);
      for (int64_t n = N * t / team; n < N * (t + 1) / team; ++n) {
        const T* in = x + n * H * W * C;
        mean ? load_input<true>(in, m.data(), is.data(), h.data()) : load_input<false>(in, nullptr, nullptr, h.data());
        depthwise(h.data(), Wp, w_dw.data(), stride, Ho, Wo, d.data());
        pointwise(d.data(), w_pw.data(), P, o.data());
        statistics(o.data(), o.data(), P, partial.data() + t * 2 * Cp);
        T* to = z + n * P * C;
        for (int64_t p = 0; p < P; ++p)
          for (int64_t cb = 0; cb < Cp; cb += VS) put(to + p * C, cb, load(o.data() + p * Cp + cb));
      }
    }
    gather(partial, threads, 2, stats);
  }

  void gather(const std::vector<double>& partial, int threads, int64_t rows, double* out) const {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0;
        for (int t = 0; t < threads; ++t) sum += partial[(t * rows + r) * Cp + c];
        out[r * C + c] = sum;
      }
  }

  // dpw[o][c] += sum over pixels of dz[p][o] * d[p][c], eight o at a time.
  void pointwise_gradient(const T* dz, const T* d, double* dpw) const {
    for (int64_t cb = 0; cb < Cp; cb += VS)
      for (int64_t o = 0; o < Cp; o += 4) {
        V acc[4] = {zero(), zero(), zero(), zero()};
        for (int64_t p = 0; p < P; ++p) {
          const V v = load(d + p * Cp + cb);
          for (int i = 0; i < 4; ++i) acc[i] += v * dz[p * Cp + o + i];
        }
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < VS; ++j) dpw[(o + i) * Cp + cb + j] += double(acc[i][j]);
      }
  }

  // ddw[tap][c] += sum over pixels of dd[p][c] * h[p moved by tap][c], one row of taps at a time.
  template <int K>
  void depthwise_gradient(const T* dd, const T* h, double* ddw) const {
    for (int64_t cb = 0; cb < Cp; cb += VS)
      for (int ky = 0; ky < K; ++ky) {
        V acc[K];
        for (int kx = 0; kx < K; ++kx) acc[kx] = zero();
        for (int64_t y = 0; y < Ho; ++y) {
          const T* from = h + ((y * stride + int64_t(ky) * dilation) * Wp) * Cp + cb;
          const T* v = dd + y * Wo * Cp + cb;
          for (int64_t x = 0; x < Wo; ++x, v += Cp, from += stride * Cp) {
            const V value = load(v);
            for (int kx = 0; kx < K; ++kx) acc[kx] += value * load(from + int64_t(kx) * dilation * Cp);
          }
        }
        for (int kx = 0; kx < K; ++kx)
          for (int j = 0; j < VS; ++j) ddw[(ky * K + kx) * Cp + cb + j] += double(acc[kx][j]);
      }
  }

  // Gradient of the depthwise convolution's input. Stride 1: the same convolution with the kernel turned around, on
  // the gradient padded alike. Stride 2: each output pixel hands its share to the taps it came from.
  void depthwise_input(const T* dd, const T* w, const T* turned, T* padded, T* dh) const {
    if (stride == 1) {
      for (int64_t y = 0; y < Ho; ++y)
        std::memcpy(padded + ((y + pad) * Wp + pad) * Cp, dd + y * Wo * Cp, Wo * Cp * sizeof(T));
      depthwise(padded, Wp, turned, 1, H, W, dh);
      return;
    }
    std::fill(padded, padded + Hp * Wp * Cp, T(0));
    for (int64_t y = 0; y < Ho; ++y)
      for (int64_t x = 0; x < Wo; ++x)
        for (int64_t cb = 0; cb < Cp; cb += VS) {
          const V value = load(dd + (y * Wo + x) * Cp + cb);
          for (int ky = 0; ky < k; ++ky)
            for (int kx = 0; kx < k; ++kx) {
              T* to = padded + ((y * stride + int64_t(ky) * dilation) * Wp + x * stride + int64_t(kx) * dilation) * Cp + cb;
              store(to, load(to) + value * load(w + (ky * k + kx) * Cp + cb));
            }
        }
    for (int64_t y = 0; y < H; ++y)
      std::memcpy(dh + y * W * Cp, padded + ((y + pad) * Wp + pad) * Cp, W * Cp * sizeof(T));
  }

  // Given g, the gradient of the normalised output times its scale, and coefficients [3][C] with
  // dz = a*g + b*z + c (batch norm's backward pass), computes what is asked for (null: not asked for):
  //   gh [N,H,W,C]  gradient before the ReLU, added if `add`; `stats` [2][C] its sums of g and g*h
  //   ddw [k*k][C], dpw [out C][in C]
  void backward(const T* g, const T* z, const T* coefficients, const T* x, const T* mean, const T* invstd,
                const T* dw, const T* pw, T* gh, int add, double* stats, double* ddw, double* dpw,
                int threads) const {
    const auto w_dw = pad_rows(dw, k * k, true, k * k);
    std::vector<T> turned(k * k * Cp);
    for (int i = 0; i < k * k; ++i)
      std::copy_n(w_dw.data() + i * Cp, Cp, turned.data() + (k * k - 1 - i) * Cp);
    const auto w_pw = pad_rows(pw, C, false, Cp);  // [o][c]
    const auto a = pad_vector(coefficients), b = pad_vector(coefficients + C), c0 = pad_vector(coefficients + 2 * C);
    const auto m = pad_vector(mean), is = pad_vector(invstd);
    const int64_t size = 2 * Cp + k * k * Cp + Cp * Cp;
    std::vector<double> partial(threads * size, 0.0);
#pragma omp parallel num_threads(threads)
    {
      // The team may be smaller than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC): cut the work by what there is.
      const int t = omp_get_thread_num(), team = omp_get_num_threads();
      double* own = partial.data() + t * size;
      std::vector<T> h(Hp * Wp * Cp, T(0)), padded(Hp * Wp * Cp, T(0)), d(P * Cp), dz(P * Cp, T(0)), dd(P * Cp);
      std::vector<T> dh(H * W * Cp);
      for (int64_t n = N * t / team; n < N * (t + 1) / team; ++n) {
        const T *gn = g + n * P * C, *zn = z + n * P * C;
        for (int64_t p = 0; p < P; ++p)
          for (int64_t cb = 0; cb < Cp; cb += VS)
            store(dz.data() + p * Cp + cb, load(a.data() + cb) * get(gn + p * C, cb) +
                                               load(b.data() + cb) * get(zn + p * C, cb) + load(c0.data() + cb));
        const T* in = x + n * H * W * C;
        mean ? load_input<true>(in, m.data(), is.data(), h.data()) : load_input<false>(in, nullptr, nullptr, h.data());
        if (dpw) {
          depthwise(h.data(), Wp, w_dw.data(), stride, Ho, Wo, d.data());
          pointwise_gradient(dz.data(), d.data(), own + 2 * Cp + k * k * Cp);
        }
        if (!gh && !ddw) continue;
        pointwise(dz.data(), w_pw.data(), P, dd.data());
        if (ddw) {
          double* to = own + 2 * Cp;
          if (k == 3) depthwise_gradient<3>(dd.data(), h.data(), to);
          else if (k == 5) depthwise_gradient<5>(dd.data(), h.data(), to);
          else depthwise_gradient<7>(dd.data(), h.data(), to);
        }
        if (!gh) continue;
        depthwise_input(dd.data(), w_dw.data(), turned.data(), padded.data(), dh.data());
        T* out = gh + n * H * W * C;
        for (int64_t y = 0; y < H; ++y) {
          T* masked = dh.data() + y * W * Cp;
          const T* hh = h.data() + ((y + pad) * Wp + pad) * Cp;
          T* to = out + y * W * C;
          for (int64_t i = 0; i < W; ++i)
            for (int64_t cb = 0; cb < Cp; cb += VS) {
              const V value = load(hh + i * Cp + cb) > zero() ? load(masked + i * Cp + cb) : zero();
              if (stats) store(masked + i * Cp + cb, value);
              put(to + i * C, cb, add ? get(to + i * C, cb) + value : value);
            }
          if (stats) statistics(masked, hh, W, own);
        }
      }
    }
    if (stats) fold(partial, threads, size, 0, 2, stats);
    if (ddw) fold(partial, threads, size, 2 * Cp, k * k, ddw);
    if (dpw) fold(partial, threads, size, 2 * Cp + k * k * Cp, C, dpw);
  }

  void fold(const std::vector<double>& partial, int threads, int64_t size, int64_t offset, int64_t rows,
            double* out) const {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0;
        for (int t = 0; t < threads; ++t) sum += partial[t * size + offset + r * Cp + c];
        out[r * C + c] = sum;
      }
  }
};

// out[0][c] = sum g, out[1][c] = sum g * (z - mean) * invstd over all pixels.
template <typename T, int VS>
void reduce(const T* g, const T* z, const T* mean, const T* invstd, int64_t pixels, int64_t C, double* out,
            int threads) {
  const Kernel<T, VS> k(1, 1, 1, C, 1, 1, 1);
  typedef typename Kernel<T, VS>::V V;
  std::vector<double> partial(threads * 2 * k.Cp, 0.0);
  const auto m = k.pad_vector(mean), is = k.pad_vector(invstd);
#pragma omp parallel num_threads(threads)
  {
    const int t = omp_get_thread_num(), team = omp_get_num_threads();
    double* own = partial.data() + t * 2 * k.Cp;
    const int64_t end = pixels * (t + 1) / team;
    for (int64_t start = pixels * t / team; start < end; start += 64) {
      const int64_t stop = std::min(end, start + 64);
      for (int64_t cb = 0; cb < k.Cp; cb += VS) {
        V one = k.zero(), two = k.zero();
        const V mc = k.load(m.data() + cb);
        for (int64_t p = start; p < stop; ++p) {
          const V v = k.get(g + p * C, cb);
          one += v;
          two += v * (k.get(z + p * C, cb) - mc);
        }
        two *= k.load(is.data() + cb);
        for (int i = 0; i < VS; ++i) {
          own[cb + i] += double(one[i]);
          own[k.Cp + cb + i] += double(two[i]);
        }
      }
    }
  }
  k.gather(partial, threads, 2, out);
}

// total = (add ? total : 0) + scale[c] * z + shift[c].
template <typename T, int VS>
void affine_add(T* total, const T* z, const T* scale, const T* shift, int64_t pixels, int64_t C, int add,
                int threads) {
  const Kernel<T, VS> k(1, 1, 1, C, 1, 1, 1);
  const auto a = k.pad_vector(scale), b = k.pad_vector(shift);
#pragma omp parallel for num_threads(threads)
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t cb = 0; cb < k.Cp; cb += VS) {
      const auto value = k.load(a.data() + cb) * k.get(z + p * C, cb) + k.load(b.data() + cb);
      k.put(total + p * C, cb, add ? k.get(total + p * C, cb) + value : value);
    }
}

}  // namespace

#define ENTRY_POINTS(T, NAME, WIDE, NARROW)                                                                        \
  extern "C" void forward_##NAME(const T* x, const T* mean, const T* invstd, const T* dw, const T* pw, T* z,       \
                                 double* stats, int64_t n, int64_t h, int64_t w, int64_t c, int k, int stride,     \
                                 int dilation, int threads) {                                                      \
    if (c > NARROW) Kernel<T, WIDE>(n, h, w, c, k, stride, dilation)                                               \
        .forward(x, mean, invstd, dw, pw, z, stats, threads);                                                      \
    else Kernel<T, NARROW>(n, h, w, c, k, stride, dilation).forward(x, mean, invstd, dw, pw, z, stats, threads);   \
  }                                                                                                                \
  extern "C" void backward_##NAME(const T* g, const T* z, const T* coefficients, const T* x, const T* mean,        \
                                  const T* invstd, const T* dw, const T* pw, T* gh, int add, double* stats,        \
                                  double* ddw, double* dpw, int64_t n, int64_t h, int64_t w, int64_t c, int k,     \
                                  int stride, int dilation, int threads) {                                         \
    if (c > NARROW) Kernel<T, WIDE>(n, h, w, c, k, stride, dilation)                                               \
        .backward(g, z, coefficients, x, mean, invstd, dw, pw, gh, add, stats, ddw, dpw, threads);                 \
    else Kernel<T, NARROW>(n, h, w, c, k, stride, dilation)                                                        \
        .backward(g, z, coefficients, x, mean, invstd, dw, pw, gh, add, stats, ddw, dpw, threads);                 \
  }                                                                                                                \
  extern "C" void reduce_##NAME(const T* g, const T* z, const T* mean, const T* invstd, int64_t pixels, int64_t c, \
                                double* out, int threads) {                                                        \
    if (c > NARROW) reduce<T, WIDE>(g, z, mean, invstd, pixels, c, out, threads);                                  \
    else reduce<T, NARROW>(g, z, mean, invstd, pixels, c, out, threads);                                           \
  }                                                                                                                \
  extern "C" void affine_add_##NAME(T* total, const T* z, const T* scale, const T* shift, int64_t pixels, int64_t c, \
                                    int add, int threads) {                                                        \
    if (c > NARROW) affine_add<T, WIDE>(total, z, scale, shift, pixels, c, add, threads);                          \
    else affine_add<T, NARROW>(total, z, scale, shift, pixels, c, add, threads);                                   \
  }

ENTRY_POINTS(float, float, 16, 8)
ENTRY_POINTS(double, double, 8, 4)
