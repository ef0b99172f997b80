// Attention of queries over the cached keys and values of their sequence.
//
// The cache consists of blocks of BLOCK_SIZE tokens; a sequence's block table names its blocks in order. Keys of a block are
// stored transposed, (D, BLOCK_SIZE), so that the scores of a block are sums of whole vectors. Values are stored token by
// token, (BLOCK_SIZE, D). Numbers are float32, or bfloat16 to halve memory traffic.
//
// Up to MAX_QUERIES queries of one sequence are answered together, so that keys and values are read once for all. A query
// with a shorter range gets the weight 0 outside it. Adding zeros changes no sum, so the result of a query depends on its own
// range only, not on the queries beside it.
#pragma once

#include <algorithm>
#include <limits>

#include "simd.hpp"

namespace turnwise {

constexpr int BLOCK_SIZE = 16;                   // tokens; BLOCK_SIZE of kv_cache/block_pool.py
constexpr int BLOCK_VECS = BLOCK_SIZE / WIDTH;   // vectors that hold one number of each token of a block
constexpr int MAX_QUERIES = 4;

inline void store_as(float* target, float value) { *target = value; }

// Rounds to the nearest bfloat16, to even at ties.
inline void store_as(uint16_t* target, float value) {
    const uint32_t bits = bit_cast<uint32_t>(value);
    *target = uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Keys or values of one head of a sequence: block t starts at `base + block_table[t] * block_stride`.
template <class Number>
struct PagedHead {
    const Number* base;
    size_t block_stride;
    const int32_t* block_table;

    const Number* block(int t) const { return base + size_t(block_table[t]) * block_stride; }
};

// One head of one row, q (D), which attends to the tokens first..end. Its output (D) goes to `out`.
struct Query {
    const float* q;
    int first, end;
    float* out;
};

// scores[l] = q . k_l for BLOCKS blocks from `first_block` on and QUERIES queries. A sum waits for its last addition, so
// several blocks are scored together.
template <int QUERIES, int BLOCKS, class Number>
inline void score_blocks(const Query* queries, int D, const PagedHead<Number>& keys, int first_block, float* scores,
                         int stride) {
    const float* q[QUERIES];
    for (int g = 0; g < QUERIES; g++) q[g] = queries[g].q;
    const Number* blocks[BLOCKS];
    for (int t = 0; t < BLOCKS; t++) blocks[t] = keys.block(first_block + t);
    Vec sums[QUERIES][BLOCKS * BLOCK_VECS] = {};
    for (int d = 0; d < D; d++)
#pragma GCC unroll 8
        for (int i = 0; i < BLOCKS * BLOCK_VECS; i++) {
            const Vec key = load_as_float(blocks[i / BLOCK_VECS] + d * BLOCK_SIZE + i % BLOCK_VECS * WIDTH);
#pragma GCC unroll 4
            for (int g = 0; g < QUERIES; g++) sums[g][i] += key * q[g][d];
        }
#pragma GCC unroll 4
    for (int g = 0; g < QUERIES; g++)
#pragma GCC unroll 8
        for (int i = 0; i < BLOCKS * BLOCK_VECS; i++)
            store(scores + size_t(g) * stride + first_block * BLOCK_SIZE + i * WIDTH, sums[g][i]);
}

template <int QUERIES, class Number>
inline void score_range(const Query* queries, int D, const PagedHead<Number>& keys, int block, int end_block, float* scores,
                        int stride) {
    constexpr int BLOCKS = BLOCK_VECS * QUERIES >= 8 ? 1 : BLOCK_VECS * QUERIES >= 4 ? 2 : 4;  // sums fit in registers
    for (; block + BLOCKS <= end_block; block += BLOCKS)
        score_blocks<QUERIES, BLOCKS>(queries, D, keys, block, scores, stride);
    for (; block < end_block; block++) score_blocks<QUERIES, 1>(queries, D, keys, block, scores, stride);
}

// Replaces scores[first..end) by e^(scale (s - max)), the rest of padded_first..padded_end by 0; returns the sum. The caller
// divides by it at the end, once per output number instead of once per token.
inline float softmax_inplace(float* scores, int padded_first, int padded_end, int first, int end, float scale) {
    const float minus_infinity = -std::numeric_limits<float>::infinity();
    for (int l = padded_first; l < first; l++) scores[l] = minus_infinity;
    for (int l = end; l < padded_end; l++) scores[l] = minus_infinity;
    Vec maxima = broadcast(minus_infinity);
    for (int l = padded_first; l < padded_end; l += WIDTH) {
        const Vec s = load<Vec>(scores + l);
        maxima = s > maxima ? s : maxima;
    }
    float max = maxima[0];
    for (int i = 1; i < WIDTH; i++) max = std::max(max, maxima[i]);
    Vec total = {};
    for (int l = padded_first; l < padded_end; l += WIDTH) {
        const Vec s = load<Vec>(scores + l);
        // exp_approx clamps its argument, so masked tokens need an explicit zero.
        const Vec e = s == minus_infinity ? Vec{} : exp_approx((s - max) * scale);
        store(scores + l, e);
        total += e;
    }
    return horizontal_sum(total);
}

// out = (sum over tokens l of p_l v_l) / total, for VECS vectors of the head from dimension d on and QUERIES queries.
template <int QUERIES, int VECS, class Number>
inline void weighted_value_sum(const Query* queries, const float* p, int stride, const float* totals,
                               const PagedHead<Number>& values, int d, int D, int first, int end) {
    Vec sums[QUERIES][VECS] = {};
    for (int l = first; l < end;) {
        const Number* block = values.block(l / BLOCK_SIZE) + d;
        for (const int block_end = std::min(end, (l / BLOCK_SIZE + 1) * BLOCK_SIZE); l < block_end; l++)
#pragma GCC unroll 8
            for (int i = 0; i < VECS; i++) {
                const Vec value = load_as_float(block + size_t(l % BLOCK_SIZE) * D + i * WIDTH);
#pragma GCC unroll 4
                for (int g = 0; g < QUERIES; g++) sums[g][i] += value * p[size_t(g) * stride + l];
            }
    }
#pragma GCC unroll 4
    for (int g = 0; g < QUERIES; g++)
#pragma GCC unroll 8
        for (int i = 0; i < VECS; i++) store(queries[g].out + d + i * WIDTH, sums[g][i] / totals[g]);
}

template <int QUERIES, class Number>
inline void attend_group(const Query* queries, int D, const PagedHead<Number>& keys, const PagedHead<Number>& values,
                         float* scores, int stride) {
    constexpr int VECS = QUERIES == 1 ? 8 : 4;  // QUERIES * VECS sums fit in registers
    const float scale = 1.0f / std::sqrt(float(D));
    int first = queries[0].first, end = queries[0].end;
    for (int g = 1; g < QUERIES; g++) first = std::min(first, queries[g].first), end = std::max(end, queries[g].end);
    const int first_block = first / BLOCK_SIZE, end_block = (end + BLOCK_SIZE - 1) / BLOCK_SIZE;
    score_range<QUERIES>(queries, D, keys, first_block, end_block, scores, stride);
    float totals[QUERIES];
    for (int g = 0; g < QUERIES; g++)
        totals[g] = softmax_inplace(scores + size_t(g) * stride, first_block * BLOCK_SIZE, end_block * BLOCK_SIZE,
                                    queries[g].first, queries[g].end, scale);
    int d = 0;
    for (; d + VECS * WIDTH <= D; d += VECS * WIDTH)
        weighted_value_sum<QUERIES, VECS>(queries, scores, stride, totals, values, d, D, first, end);
    for (; d < D; d += WIDTH)
        weighted_value_sum<QUERIES, 1>(queries, scores, stride, totals, values, d, D, first, end);
}

// Attention for up to MAX_QUERIES queries of one sequence and one key/value head. `scores` is scratch memory of
// MAX_QUERIES * stride floats.
template <class Number>
NOINLINE void attend(const Query* queries, int count, int D, const PagedHead<Number>& keys, const PagedHead<Number>& values,
                     float* scores, int stride) {
    switch (count) {
        case 1: return attend_group<1>(queries, D, keys, values, scores, stride);
        case 2: return attend_group<2>(queries, D, keys, values, scores, stride);
        case 3: return attend_group<3>(queries, D, keys, values, scores, stride);
        default: attend_group<4>(queries, D, keys, values, scores, stride);
    }
}

}  // namespace turnwise
