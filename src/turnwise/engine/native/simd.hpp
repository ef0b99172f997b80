// SIMD vectors of the processor's register width, in the vector extension of GCC and Clang.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#endif

// For long functions with several call sites: compiling them once halves the build time.
#define NOINLINE __attribute__((noinline))

namespace turnwise {

// Lanes of 32 bits in a register.
#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t IntVec __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t UintVec __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t Bits16Vec __attribute__((vector_size(2 * WIDTH)));  // WIDTH bfloat16 or float16 values as raw bits
typedef uint8_t Uint8Vec __attribute__((vector_size(WIDTH)));
typedef int8_t Int8Vec __attribute__((vector_size(WIDTH)));

// std::bit_cast of C++20.
template <class To, class From>
inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// Unaligned load; memcpy compiles to one instruction and breaks no aliasing rule.
template <class T>
inline T load(const void* source) {
    T value;
    std::memcpy(&value, source, sizeof value);
    return value;
}

inline void store(float* target, Vec value) { std::memcpy(target, &value, sizeof value); }

inline Vec broadcast(float value) { return value - Vec{}; }

// Load WIDTH numbers as float32. A bfloat16 is the upper half of a float32, so widening it is a shift and exact.
inline Vec load_as_float(const float* source) { return load<Vec>(source); }
inline Vec load_as_float(const uint16_t* source) {
    return bit_cast<Vec>(__builtin_convertvector(load<Bits16Vec>(source), UintVec) << 16);
}

inline Vec load_as_float(const int8_t* source) { return __builtin_convertvector(load<Int8Vec>(source), Vec); }
inline Vec load_as_float(const uint8_t* source) { return __builtin_convertvector(load<Uint8Vec>(source), Vec); }

// Load WIDTH float16 values. All variants are exact for finite values.
inline Vec load_half(const uint16_t* source) {
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtph_ps(load<__m256i>(source));
#elif defined(__F16C__) && defined(__AVX__)
    return (Vec)_mm256_cvtph_ps(load<__m128i>(source));
#else
    // Exponent and mantissa are moved to their places in a float32, whose exponent is then too small by 112.
    const UintVec bits = __builtin_convertvector(load<Bits16Vec>(source), UintVec);
    const Vec magnitude = bit_cast<Vec>((bits & 0x7fff) << 13) * 0x1p112f;
    return bit_cast<Vec>(bit_cast<UintVec>(magnitude) | (bits & 0x8000) << 16);
#endif
}

// Lanes are added in order: the result must not depend on how a compiler vectorises a reduction.
inline float horizontal_sum(Vec value) {
    float total = 0;
    for (int i = 0; i < WIDTH; i++) total += value[i];
    return total;
}

// Rounding without an instruction for it: in 1.5 * 2^23 + x the last bit of the mantissa counts ones, so the addition
// rounds x to the nearest integer (to even at ties), which then stands in the low bits. Valid for |x| < 2^22.
constexpr float ROUNDING_SHIFT = 12582912.0f;
constexpr int32_t ROUNDING_SHIFT_BITS = 0x4B400000;

// e^x with a relative error of about 1e-7: x = n ln 2 + r, a polynomial for e^r (Cephes, expf), n added to the exponent.
// ln 2 is subtracted in two parts, so that the first product is exact.
inline Vec exp_approx(Vec x) {
    x = x < -87.0f ? broadcast(-87.0f) : x;
    x = x > 88.0f ? broadcast(88.0f) : x;
    const Vec shifted = x * 1.44269504088896341f + ROUNDING_SHIFT;
    const Vec n = shifted - ROUNDING_SHIFT;
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    const IntVec exponent = (bit_cast<IntVec>(shifted) - ROUNDING_SHIFT_BITS + 127) << 23;
    return y * bit_cast<Vec>(exponent);
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp_approx(-x)); }

inline Vec silu(Vec x) { return x * sigmoid(x); }

// GELU by its tanh formula (Hendrycks & Gimpel 2016): 0.5 x (1 + tanh u) = x sigmoid(2u).
inline Vec gelu_tanh(Vec x) { return x * sigmoid(2 * 0.7978845608028654f * (x + 0.044715f * x * x * x)); }

// GELU by the error function: x Phi(x), with Phi(x) = erfc(-x / sqrt 2) / 2. erfc by Abramowitz & Stegun 7.1.26, with an error
// below 2e-7.
inline Vec gelu_erf(Vec x) {
    const Vec z = (x < 0.0f ? -x : x) * 0.7071067811865476f;
    const Vec t = 1.0f / (1.0f + 0.3275911f * z);
    Vec y = t * 1.061405429f - 1.453152027f;
    y = y * t + 1.421413741f;
    y = y * t - 0.284496736f;
    y = y * t + 0.254829592f;
    const Vec tail = 0.5f * (y * t) * exp_approx(-z * z);  // Phi(-|x|)
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

}  // namespace turnwise
