// Linear layers over 8- or 4-bit integer weights. Activations are quantized to 8 bits on the fly.
//
// Activations are quantized in groups of GROUP inputs. Products and sums within a group are integers and exact; the sums of
// the groups are scaled and added as floats in ascending order. The scales of a row come from that row alone, so its outputs
// do not depend on the other rows.
//
// Weights of formats without a minimum are stored with OFFSET added, because the multiply-add instructions of x86 need one
// unsigned factor: sum((w + OFFSET) x) - OFFSET sum(x) = sum(w x). Layout of a panel: (inputs / 4, PANEL, 4) bytes, four consecutive inputs of
// an output side by side, as these instructions read them. With 4 bits, a byte holds the weight of one step of four inputs in
// its low half, and that of the next step in its high half.
#pragma once

#include "weight_formats.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace turnwise {

typedef uint8_t ByteVec __attribute__((vector_size(4 * WIDTH)));   // STEP unsigned weights of WIDTH outputs

// Activations as integers from -127 to 127, each row padded with zeros to a multiple of GROUP.
struct QuantizedRows {
    int8_t* values;      // (rows, groups, GROUP)
    float* scales;       // (rows, groups)
    int32_t* half_sums;  // (rows, groups, 2), sums of the first and the second half of a group's `values`

    // Quantize one group of one row. `index` counts groups over all rows; `x` has `count` inputs, GROUP at most.
    void set_group(size_t index, const float* x, int count) {
        alignas(64) float padded[GROUP] = {};
        if (count < GROUP) x = static_cast<const float*>(std::memcpy(padded, x, count * sizeof(float)));
        Vec maxima = {}, nonfinite = {};
        for (int i = 0; i < GROUP; i += WIDTH) {
            const Vec v = load<Vec>(x + i), magnitude = v < 0.0f ? -v : v;
            maxima = magnitude > maxima ? magnitude : maxima;
            nonfinite += v - v;  // 0, or NaN for an infinity or a NaN: it must reach the outputs, not become an integer
        }
        float max = maxima[0];
        for (int i = 1; i < WIDTH; i++) max = std::max(max, maxima[i]);
        const float factor = max > 0 ? 127.0f / max : 0.0f;
        IntVec totals[2] = {};
        for (int i = 0; i < GROUP; i += WIDTH) {
            const Vec shifted = load<Vec>(x + i) * factor + ROUNDING_SHIFT;
            const IntVec rounded = bit_cast<IntVec>(shifted) - ROUNDING_SHIFT_BITS;
            totals[2 * i / GROUP] += rounded;
            const Int8Vec narrow = __builtin_convertvector(rounded, Int8Vec);
            std::memcpy(values + index * GROUP + i, &narrow, sizeof narrow);
        }
        scales[index] = max / 127.0f + horizontal_sum(nonfinite);
        for (int half = 0; half < 2; half++) {
            half_sums[2 * index + half] = 0;
            for (int i = 0; i < WIDTH; i++) half_sums[2 * index + half] += totals[half][i];
        }
    }
};

// Dot products of one group for WIDTH outputs: add(w, x) is sum[o] += w[o][0..3] . x[0..3], where each lane of `x` holds the
// same four inputs. All three variants are exact, so they give the same integers.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
template <int BITS>
struct GroupDot {
    IntVec sum = {};
#if defined(__AVX512VNNI__)
    void add(ByteVec w, IntVec x) { sum = (IntVec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x); }
#else
    void add(ByteVec w, IntVec x) { sum = (IntVec)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x); }
#endif
    IntVec total() const { return sum; }
};
#elif defined(__AVX2__)
// maddubs adds pairs of products in 16 bits. A whole group of 4-bit weights fits: 32 / 2 * 15 * 127 < 2^15. Weights of
// 8 bits would saturate, so their low and high halves are summed separately and joined in 32 bits.
template <int BITS>
struct GroupDot {
    static_assert(GROUP == 32);
    typedef int16_t ShortVec __attribute__((vector_size(4 * WIDTH)));
    ShortVec low = {}, high = {};
#if defined(__AVX512BW__)
    static ShortVec pair_products(ByteVec w, IntVec x) { return (ShortVec)_mm512_maddubs_epi16((__m512i)w, (__m512i)x); }
    static IntVec add_pairs(ShortVec x, short factor) {
        return (IntVec)_mm512_madd_epi16((__m512i)x, _mm512_set1_epi16(factor));
    }
#else
    static ShortVec pair_products(ByteVec w, IntVec x) { return (ShortVec)_mm256_maddubs_epi16((__m256i)w, (__m256i)x); }
    static IntVec add_pairs(ShortVec x, short factor) {
        return (IntVec)_mm256_madd_epi16((__m256i)x, _mm256_set1_epi16(factor));
    }
#endif
    void add(ByteVec w, IntVec x) {
        low += pair_products(BITS == 4 ? w : w & 15, x);
        if (BITS == 8) high += pair_products(w >> 4, x);
    }
    IntVec total() const { return BITS == 4 ? add_pairs(low, 1) : add_pairs(low, 1) + add_pairs(high, 16); }
};
#else
template <int BITS>
struct GroupDot {
    IntVec sum = {};
    void add(ByteVec w, IntVec x) {
        for (int shift = 0; shift < 32; shift += 8)
            sum += (IntVec)(bit_cast<UintVec>(w) >> shift & 255) * (x << (24 - shift) >> 24);
    }
    IntVec total() const { return sum; }
};
#endif

// The tile kernel for one integer format. The weights of a group are multiplied as integers; for each group (or half of it,
// if it has two scales) the product is scaled, and a minimum m of the weights adds m sum(x).
template <int FORMAT>
class QuantizedKernel {
    typedef FormatTraits<FORMAT> Traits;

  public:
    // Registers of a tile: sums of a group, sums of the row, weights; of the 32 of AVX-512, or 16.
    static constexpr int MAX_TILE_ROWS = WIDTH == 16 ? 8 : 4;

    QuantizedKernel(QuantizedRows x, int inputs, const MatrixSegment& segment)
        : x_(x), groups_(num_groups(inputs)), segment_(segment) {}

    void begin_panel(int, int) {}
    void end_panel() {}

    template <int ROWS, int PANELS>
    NOINLINE void tile(int row, int panel, float* out) const {
        constexpr int VECS = 2 * PANELS;  // vectors of outputs
        Vec sums[ROWS][VECS] = {};
        const size_t panel_stride = size_t(groups_) * Traits::GROUP_BYTES;
        const uint8_t* w = (const uint8_t*)segment_.weights + panel * panel_stride;
        for (int group = 0; group < groups_; group++)
#pragma GCC unroll 2
            for (int sub = 0; sub < Traits::SUBGROUPS; sub++)
                add_subgroup<ROWS, VECS>(row, panel, group, sub, w + size_t(group) * Traits::GROUP_BYTES, panel_stride, sums);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int p = 0; p < VECS; p++) {
                const int column = (p % 2) * WIDTH;
                if (Traits::HAS_ROW_SCALE)
                    sums[r][p] *= load<Vec>((const float*)segment_.scales + (panel + p / 2) * PANEL + column);
                store(out + (r * PANELS + p / 2) * PANEL + column, sums[r][p]);
            }
    }

  private:
    // Adds the inputs that share one scale to `sums`. `w` are the weights of the group in the first panel.
    template <int ROWS, int VECS>
    inline __attribute__((always_inline)) void add_subgroup(int row, int panel, int group, int sub, const uint8_t* w,
                                                            size_t panel_stride, Vec (&sums)[ROWS][VECS]) const {
        constexpr int STEPS = GROUP / STEP / Traits::SUBGROUPS;
        GroupDot<Traits::BITS> dots[ROWS][VECS];
        const int8_t* x = x_.values + (size_t(row) * groups_ + group) * GROUP;
        // Two steps at a time, since one load of 4-bit weights has the weights of both.
#pragma GCC unroll 4
        for (int step = sub * STEPS; step < (sub + 1) * STEPS; step += 2) {
            ByteVec first[VECS], second[VECS];
#pragma GCC unroll 8
            for (int p = 0; p < VECS; p++) load_two_steps(w + (p / 2) * panel_stride, step, p % 2, first[p], second[p]);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                const int8_t* inputs = x + size_t(r) * groups_ * GROUP + step * STEP;
                // int - IntVec{} broadcasts four inputs, as one 32-bit number, to all lanes.
#pragma GCC unroll 8
                for (int p = 0; p < VECS; p++) dots[r][p].add(first[p], load<int32_t>(inputs) - IntVec{});
#pragma GCC unroll 8
                for (int p = 0; p < VECS; p++) dots[r][p].add(second[p], load<int32_t>(inputs + STEP) - IntVec{});
            }
        }
        GroupScale scales[VECS];
#pragma GCC unroll 8
        for (int p = 0; p < VECS; p++) {
            const size_t panel_group = size_t(panel + p / 2) * groups_ + group;
            scales[p] = load_group_scale<FORMAT>(segment_, panel_group, sub, (p % 2) * WIDTH);
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const size_t index = size_t(row + r) * groups_ + group;
            const float x_scale = x_.scales[index];
            const int32_t* half_sums = x_.half_sums + 2 * index;
            const int32_t x_sum = Traits::SUBGROUPS == 2 ? half_sums[sub] : half_sums[0] + half_sums[1];
#pragma GCC unroll 8
            for (int p = 0; p < VECS; p++) {
                const Vec dot = __builtin_convertvector(dots[r][p].total() - Traits::OFFSET * x_sum, Vec);
                sums[r][p] += dot * (Traits::HAS_ROW_SCALE ? broadcast(x_scale) : scales[p].scale * x_scale);
                if (Traits::HAS_MINIMUM) sums[r][p] += scales[p].minimum * (float(x_sum) * x_scale);
            }
        }
    }

    // Loads the weights of `step` and of the next step, for one of the two vectors of outputs of a panel.
    static void load_two_steps(const uint8_t* group, int step, int vec, ByteVec& first, ByteVec& second) {
        const uint8_t* source = group + step * STEP * PANEL * Traits::BITS / 8 + vec * STEP * WIDTH;
        first = load<ByteVec>(source);
        if (Traits::BITS == 8) {
            second = load<ByteVec>(source + STEP * PANEL);
        } else {
            second = bit_cast<ByteVec>(bit_cast<UintVec>(first) >> 4) & 15;
            first &= 15;
        }
    }

    const QuantizedRows x_;
    const int groups_;
    const MatrixSegment segment_;
};

}  // namespace turnwise
