// The 3x3 average of stride 1 that leaves padding out of its count, on images [N, H, W, C], there and back: what a pixel
// and its neighbours have in common, the sums of a window's columns, is taken once.

#include <omp.h>

#include "vectors.h"

namespace {

using nas::Buffer;

// Laid out as `Call` in average.py.
template <typename T>
struct Call {
  int64_t n, h, w, c, threads, back;
  const T* from;  // images, or the gradient of their averages
  T* to;          // averages, or the gradient of the images
};

template <typename T>
struct Average {
  const Call<T>& call;
  const int64_t H, W, C, width;
  explicit Average(const Call<T>& c) : call(c), H(c.h), W(c.w), C(c.c), width(c.w * c.c) {}

  // How many of the three places around `at` lie within `size`.
  static int64_t inside(int64_t at, int64_t size) { return 1 + (at > 0) + (at + 1 < size); }
  T share(int64_t y, int64_t x) const { return T(1) / T(inside(y, H) * inside(x, W)); }

  void run() const {
#pragma omp parallel num_threads(int(call.threads)) if (call.threads > 1)
    {
      Buffer<T> rows(width), divided(call.back ? H * width : 0);
#pragma omp for
      for (int64_t n = 0; n < call.n; ++n) {
        const T* from = call.from + n * H * width;
        T* to = call.to + n * H * width;
        // Back, what comes to a pixel has been divided where it was averaged.
        if (call.back) {
          divide(from, divided.data());
          from = divided.data();
        }
        for (int64_t y = 0; y < H; ++y) {
          add_rows(from, y, rows.data());
          add_columns(rows.data(), y, to + y * width);
        }
      }
    }
  }

  void divide(const T* from, T* to) const {
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < W; ++x, from += C, to += C) {
        const T part = share(y, x);
        for (int64_t c = 0; c < C; ++c) to[c] = part * from[c];
      }
  }

  void add_rows(const T* image, int64_t y, T* sums) const {
    const T* own = image + y * width;
    const T *above = own - width, *below = own + width;
    const int64_t count = width;
    if (y > 0 && y + 1 < H)
      for (int64_t i = 0; i < count; ++i) sums[i] = above[i] + own[i] + below[i];
    else if (H > 1)
      for (int64_t i = 0; i < count; ++i) sums[i] = own[i] + (y > 0 ? above : below)[i];
    else
      std::copy_n(own, count, sums);
  }

  void add_columns(const T* sums, int64_t y, T* to) const {
    const int64_t channels = C;
    for (int64_t x = 0; x < W; ++x, sums += channels, to += channels) {
      const T part = call.back ? T(1) : share(y, x);
      const T *left = sums - channels, *right = sums + channels;
      if (x > 0 && x + 1 < W)
        for (int64_t c = 0; c < channels; ++c) to[c] = (left[c] + sums[c] + right[c]) * part;
      else if (W > 1)
        for (int64_t c = 0; c < channels; ++c) to[c] = (sums[c] + (x > 0 ? left : right)[c]) * part;
      else
        for (int64_t c = 0; c < channels; ++c) to[c] = sums[c] * part;
    }
  }
};

}  // namespace

extern "C" void average_float(const Call<float>* call) { Average<float>(*call).run(); }
extern "C" void average_double(const Call<double>* call) { Average<double>(*call).run(); }
