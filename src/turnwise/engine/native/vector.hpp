// Vectors of floats as wide as the processor's registers, in the vector extension of GCC and Clang.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// For long functions that are called from several places: compiled once, which halves the time it takes.
#define NOINLINE __attribute__((noinline))

namespace turnwise {

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t Halves __attribute__((vector_size(2 * WIDTH)));

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <class T>
inline T load(const void* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

inline void store(float* at, Vec value) { std::memcpy(at, &value, sizeof value); }

inline Vec all(float value) { return value - Vec{}; }

// One vector of weights, stored as float32 or as the upper half of one (bfloat16).
inline Vec weights(const float* at) { return load<Vec>(at); }
inline Vec weights(const uint16_t* at) { return bits<Vec>(__builtin_convertvector(load<Halves>(at), Words) << 16); }

inline float sum(Vec value) {
    float total = 0;
    for (int i = 0; i < WIDTH; i++) total += value[i];
    return total;
}

// e^x to about 1e-7 relative: x = n ln 2 + r, a polynomial for e^r (Cephes, expf), n added to the exponent.
inline Vec exponential(Vec x) {
    x = x < -87.0f ? all(-87.0f) : x;
    x = x > 88.0f ? all(88.0f) : x;
    const Vec shifted = x * 1.44269504088896341f + 12582912.0f;  // the nearest whole number, in the low bits
    const Vec n = shifted - 12582912.0f;
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    const Ints exponent = (bits<Ints>(shifted) - 0x4B400000 + 127) << 23;
    return y * bits<Vec>(exponent);
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

inline Vec silu(Vec x) { return x * sigmoid(x); }

// GELU by its tanh formula (Hendrycks & Gimpel 2016): 0.5 x (1 + tanh u) = x sigmoid(2u).
inline Vec gelu_tanh(Vec x) { return x * sigmoid(2 * 0.7978845608028654f * (x + 0.044715f * x * x * x)); }

}  // namespace turnwise
