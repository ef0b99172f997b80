// Rows times a matrix of small whole numbers: weights of 8 or 4 bits, inputs turned into 8 bits on the way.
//
// Inputs are taken in groups of GROUP. Within one, products and sums are whole numbers and exact; the groups' sums are
// scaled and added as floats in order. A row's scales come from that row alone, so its outputs do too.
//
// Weights are stored with OFFSET added, which makes them the unsigned factor that the processors' instructions ask for;
// it is taken off again through the sum of the inputs. Inputs are stored four at a time for every output of a panel,
// (in / 4, PANEL, 4) bytes; with 4 bits a byte holds an input of one such step, and of the next one in its upper half.
#pragma once

#include "linear.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace turnwise {

constexpr int GROUP = 32;
constexpr int STEP = 4;

typedef uint8_t Bytes __attribute__((vector_size(4 * WIDTH)));
typedef int8_t Smalls __attribute__((vector_size(WIDTH)));

inline int groups(int inputs) { return (inputs + GROUP - 1) / GROUP; }

// Rows as whole numbers from -127 to 127, filled up with zeros to whole groups.
struct IntegerRows {
    int8_t* values;  // (rows, groups, GROUP)
    float* scales;   // (rows, groups)
    int32_t* sums;   // (rows, groups), of the values

    // Fills in one group of one row; `at` counts the groups of all rows, `x` has `count` inputs.
    void set(size_t at, const float* x, int count) {
        alignas(64) float padded[GROUP] = {};
        if (count < GROUP) x = static_cast<const float*>(std::memcpy(padded, x, count * sizeof(float)));
        Vec highest = {}, odd = {};
        for (int i = 0; i < GROUP; i += WIDTH) {
            const Vec v = load<Vec>(x + i), size = v < 0.0f ? -v : v;
            highest = size > highest ? size : highest;
            odd += v - v;  // nothing, unless a number overflowed: then it is none, and the outputs shall be none too
        }
        float top = highest[0];
        for (int i = 1; i < WIDTH; i++) top = std::max(top, highest[i]);
        const float factor = top > 0 ? 127.0f / top : 0.0f;
        Ints total = {};
        for (int i = 0; i < GROUP; i += WIDTH) {
            const Vec shifted = load<Vec>(x + i) * factor + 12582912.0f;  // the nearest whole number, in the low bits
            const Ints whole = bits<Ints>(shifted) - 0x4B400000;
            total += whole;
            const Smalls small = __builtin_convertvector(whole, Smalls);
            std::memcpy(values + at * GROUP + i, &small, sizeof small);
        }
        scales[at] = top / 127.0f + sum(odd);
        sums[at] = 0;
        for (int i = 0; i < WIDTH; i++) sums[at] += total[i];
    }
};

// The sums of a group's products for WIDTH outputs, four inputs at a time: add(w, x) is sum[o] += w[o][0..3] . x[0..3].
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
template <int BITS>
struct GroupSum {
    Ints sum = {};
#if defined(__AVX512VNNI__)
    void add(Bytes w, Ints x) { sum = (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x); }
#else
    void add(Bytes w, Ints x) { sum = (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x); }
#endif
    Ints total() const { return sum; }
};
#elif defined(__AVX2__)
// Sums of 16 bits hold a group's products of 4 bits by 8 (32 / 2 * 15 * 127 < 2^15), so 8 bits are done as two halves.
template <int BITS>
struct GroupSum {
    static_assert(GROUP == 32);
    typedef int16_t Shorts __attribute__((vector_size(4 * WIDTH)));
    Shorts low = {}, high = {};
#if defined(__AVX512BW__)
    static Shorts pairs(Bytes w, Ints x) { return (Shorts)_mm512_maddubs_epi16((__m512i)w, (__m512i)x); }
    static Ints add_pairs(Shorts x, short by) { return (Ints)_mm512_madd_epi16((__m512i)x, _mm512_set1_epi16(by)); }
#else
    static Shorts pairs(Bytes w, Ints x) { return (Shorts)_mm256_maddubs_epi16((__m256i)w, (__m256i)x); }
    static Ints add_pairs(Shorts x, short by) { return (Ints)_mm256_madd_epi16((__m256i)x, _mm256_set1_epi16(by)); }
#endif
    void add(Bytes w, Ints x) {
        low += pairs(BITS == 4 ? w : w & 15, x);
        if (BITS == 8) high += pairs(w >> 4, x);
    }
    Ints total() const { return BITS == 4 ? add_pairs(low, 1) : add_pairs(low, 1) + add_pairs(high, 16); }
};
#else
template <int BITS>
struct GroupSum {
    Ints sum = {};
    void add(Bytes w, Ints x) {
        for (int shift = 0; shift < 32; shift += 8)
            sum += (Ints)(bits<Words>(w) >> shift & 255) * (x << (24 - shift) >> 24);
    }
    Ints total() const { return sum; }
};
#endif

// A product of rows with a matrix of BITS bits: 8 with a float scale for every output, or 4 with a bfloat16 scale for
// every output and group, (panels, groups, PANEL).
template <int BITS>
class IntegerProduct {
  public:
    // Rows in a tile: sums of a group, sums of all, and weights nearly fill 32 registers of AVX-512, or 16.
    static constexpr int TALLEST = WIDTH == 16 ? 8 : 4;
    static constexpr int OFFSET = 1 << (BITS - 1);
    static constexpr int GROUP_BYTES = GROUP * PANEL * BITS / 8;

    IntegerProduct(IntegerRows x, int inputs, const void* matrix, const void* scales)
        : x_(x), groups_(groups(inputs)), matrix_((const uint8_t*)matrix), scales_(scales) {}

    void open(int, int) {}
    void close() {}

    template <int ROWS, int PANELS>
    NOINLINE void tile(int row, int panel, float* out) const {
        constexpr int PARTS = 2 * PANELS;  // vectors of outputs
        Vec sums[ROWS][PARTS] = {};
        const size_t stride = size_t(groups_) * GROUP_BYTES;
        const uint8_t* w = matrix_ + panel * stride;
        const int8_t* x = x_.values + size_t(row) * groups_ * GROUP;
        for (int group = 0; group < groups_; group++) {
            GroupSum<BITS> parts[ROWS][PARTS];
#pragma GCC unroll 4
            for (int step = 0; step < GROUP / STEP; step += 2) {
                Bytes first[PARTS], second[PARTS];
#pragma GCC unroll 8
                for (int p = 0; p < PARTS; p++)
                    pair(w + (p / 2) * stride + size_t(group) * GROUP_BYTES, step, p % 2, first[p], second[p]);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; r++) {
                    const int8_t* at = x + (size_t(r) * groups_ + group) * GROUP + step * STEP;
#pragma GCC unroll 8
                    for (int p = 0; p < PARTS; p++) parts[r][p].add(first[p], load<int32_t>(at) - Ints{});
#pragma GCC unroll 8
                    for (int p = 0; p < PARTS; p++) parts[r][p].add(second[p], load<int32_t>(at + STEP) - Ints{});
                }
            }
            Vec scale[PARTS];
            if (BITS == 4) {
#pragma GCC unroll 8
                for (int p = 0; p < PARTS; p++) {
                    const size_t at = (size_t(panel + p / 2) * groups_ + group) * PANEL + (p % 2) * WIDTH;
                    scale[p] = weights((const uint16_t*)scales_ + at);
                }
            }
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                const size_t at = size_t(row + r) * groups_ + group;
                const int32_t too_much = OFFSET * x_.sums[at];
#pragma GCC unroll 8
                for (int p = 0; p < PARTS; p++) {
                    const Vec sum = __builtin_convertvector(parts[r][p].total() - too_much, Vec);
                    sums[r][p] += sum * (BITS == 4 ? scale[p] * x_.scales[at] : all(x_.scales[at]));
                }
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; p++) {
                const int column = (p % 2) * WIDTH;
                if (BITS == 8) sums[r][p] *= load<Vec>((const float*)scales_ + (panel + p / 2) * PANEL + column);
                store(out + (r * PANELS + p / 2) * PANEL + column, sums[r][p]);
            }
    }

  private:
    // The weights of a step and of the next one, for one half of the panel.
    static void pair(const uint8_t* group, int step, int half, Bytes& first, Bytes& second) {
        const uint8_t* at = group + step * STEP * PANEL * BITS / 8 + half * STEP * WIDTH;
        first = load<Bytes>(at);
        if (BITS == 8) {
            second = load<Bytes>(at + STEP * PANEL);
        } else {
            second = bits<Bytes>(bits<Words>(first) >> 4) & 15;
            first &= 15;
        }
    }

    const IntegerRows x_;
    const int groups_;
    const uint8_t* matrix_;
    const void* scales_;
};

}  // namespace turnwise
