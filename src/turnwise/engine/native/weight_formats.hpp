// Scales of quantized weights by storage format, and single rows of a matrix as floats.
#pragma once

#include <type_traits>

#include "linear.hpp"
#include "structs.hpp"

namespace turnwise {

constexpr int GROUP = 32;             // inputs that share a scale
constexpr int GROUPS_PER_SUPER_BLOCK = 8;   // groups that share a super scale
constexpr int STEP = 4;               // inputs of one multiply-add instruction

inline int num_groups(int inputs) { return (inputs + GROUP - 1) / GROUP; }

// Properties of a format at compile time. SUBGROUPS: scales per group of inputs.
template <int FORMAT>
struct FormatTraits {
    static constexpr bool IS_4_BIT = FORMAT == INT4_GROUP || FORMAT == INT4_GROUP_MIN || FORMAT == INT4_SUPER_BLOCK;
    static constexpr bool HAS_SUPER_MINIMUM = FORMAT == INT8_SUPER_BLOCK || FORMAT == INT4_SUPER_BLOCK;
    static constexpr bool HAS_MINIMUM = FORMAT == INT8_GROUP_MIN || FORMAT == INT4_GROUP_MIN || HAS_SUPER_MINIMUM;
    static constexpr bool HAS_ROW_SCALE = FORMAT == INT8;
    static constexpr int BITS = IS_4_BIT ? 4 : 8;
    static constexpr int SUBGROUPS = FORMAT == INT8_HALF_SUPER_BLOCK ? 2 : 1;
    static constexpr int OFFSET = HAS_MINIMUM ? 0 : 1 << (BITS - 1);
    static constexpr int GROUP_BYTES = GROUP * PANEL * BITS / 8;
};

inline bool is_integer(int32_t format) { return format != FLOAT32 && format != BFLOAT16; }

inline bool has_super_scales(int32_t format) {
    return format == INT8_SUPER_BLOCK || format == INT8_HALF_SUPER_BLOCK || format == INT4_SUPER_BLOCK;
}

inline bool has_minimums(int32_t format) {
    return format == INT8_GROUP_MIN || format == INT4_GROUP_MIN || format == INT8_SUPER_BLOCK || format == INT4_SUPER_BLOCK;
}

struct GroupScale {
    Vec scale, minimum;
};

// Scale and minimum of a group (or of half of it) for WIDTH outputs, from `lane` on. `group` counts the groups of all panels
// of the segment.
template <int FORMAT>
inline GroupScale load_group_scale(const MatrixSegment& segment, size_t group, int sub, int lane) {
    const size_t index = group * PANEL + lane, super_index = group / GROUPS_PER_SUPER_BLOCK * PANEL + lane;
    const uint16_t* super_scales = (const uint16_t*)segment.super_scales;
    if constexpr (FORMAT == INT8) {
        return {broadcast(1.0f), Vec{}};  // the scale of the output is applied to the sum of all groups
    } else if constexpr (FORMAT == INT8_HALF_SUPER_BLOCK) {
        const int8_t* scales = (const int8_t*)segment.scales + (group * 2 + sub) * PANEL + lane;
        return {load_half(super_scales + super_index) * load_as_float(scales), Vec{}};
    } else if constexpr (FormatTraits<FORMAT>::HAS_SUPER_MINIMUM) {
        const uint16_t* super_minimums = (const uint16_t*)segment.super_minimums;
        return {load_half(super_scales + super_index) * load_as_float((const uint8_t*)segment.scales + index),
                -(load_half(super_minimums + super_index) * load_as_float((const uint8_t*)segment.minimums + index))};
    } else {
        const Vec scale = load_half((const uint16_t*)segment.scales + index);
        if constexpr (FormatTraits<FORMAT>::HAS_MINIMUM)
            return {scale, load_half((const uint16_t*)segment.minimums + index)};
        return {scale, Vec{}};
    }
}

// One output of a segment as `inputs` floats: the token embedding of an id. The weights of an output are PANEL numbers apart.
template <int FORMAT>
inline void dequantize_output(const MatrixSegment& segment, int output, int inputs, float* out) {
    const int panel = output / PANEL, lane = output % PANEL, groups = num_groups(inputs);
    if constexpr (FORMAT == FLOAT32 || FORMAT == BFLOAT16) {
        const size_t offset = size_t(panel) * inputs * PANEL + lane;
        for (int i = 0; i < inputs; i++) {
            const size_t index = offset + size_t(i) * PANEL;
            out[i] = FORMAT == FLOAT32 ? ((const float*)segment.weights)[index]
                                       : bit_cast<float>(uint32_t(((const uint16_t*)segment.weights)[index]) << 16);
        }
    } else {
        typedef FormatTraits<FORMAT> Traits;
        const int vec = lane / WIDTH, vec_lane = lane % WIDTH;
        const float row_scale = Traits::HAS_ROW_SCALE ? ((const float*)segment.scales)[panel * PANEL + lane] : 1.0f;
        for (int group = 0; group < groups; group++) {
            const size_t panel_group = size_t(panel) * groups + group;
            const uint8_t* bytes = (const uint8_t*)segment.weights + panel_group * Traits::GROUP_BYTES;
            for (int sub = 0; sub < Traits::SUBGROUPS; sub++) {
                const GroupScale scales = load_group_scale<FORMAT>(segment, panel_group, sub, vec * WIDTH);
                const float scale = scales.scale[vec_lane] * row_scale, minimum = scales.minimum[vec_lane];
                const int first = sub * GROUP / Traits::SUBGROUPS, end = first + GROUP / Traits::SUBGROUPS;
                for (int i = first; i < end && group * GROUP + i < inputs; i++) {
                    const int step = i / STEP;
                    // 4 bits: a byte holds the weights of an even step (low half) and of the next step (high half).
                    const int word = (Traits::IS_4_BIT ? step / 2 : step) * PANEL + lane;
                    int q = bytes[word * STEP + i % STEP];
                    if (Traits::IS_4_BIT) q = step % 2 ? q >> 4 : q & 15;
                    out[group * GROUP + i] = float(q - Traits::OFFSET) * scale + minimum;
                }
            }
        }
    }
}

// Calls work(std::integral_constant<int, FORMAT>) with the format as a constant.
template <class Work>
inline void with_format(int32_t format, Work work) {
    switch (format) {
        case FLOAT32: return work(std::integral_constant<int, FLOAT32>());
        case BFLOAT16: return work(std::integral_constant<int, BFLOAT16>());
        case INT8: return work(std::integral_constant<int, INT8>());
        case INT8_GROUP: return work(std::integral_constant<int, INT8_GROUP>());
        case INT8_GROUP_MIN: return work(std::integral_constant<int, INT8_GROUP_MIN>());
        case INT8_SUPER_BLOCK: return work(std::integral_constant<int, INT8_SUPER_BLOCK>());
        case INT8_HALF_SUPER_BLOCK: return work(std::integral_constant<int, INT8_HALF_SUPER_BLOCK>());
        case INT4_GROUP: return work(std::integral_constant<int, INT4_GROUP>());
        case INT4_GROUP_MIN: return work(std::integral_constant<int, INT4_GROUP_MIN>());
        default: return work(std::integral_constant<int, INT4_SUPER_BLOCK>());
    }
}

// One output of a matrix as floats.
inline void dequantize_output(const PackedMatrix& matrix, int output, float* out) {
    const MatrixSegment* segment = matrix.segments;
    while (output >= segment->num_panels * PANEL) output -= segment++->num_panels * PANEL;
    with_format(segment->format, [&](auto format) {
        dequantize_output<decltype(format)::value>(*segment, output, matrix.inputs, out);
    });
}

}  // namespace turnwise
