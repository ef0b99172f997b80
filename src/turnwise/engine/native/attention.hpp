// The attention of queries over the keys and values their chat has in the cache.
//
// The cache is cut into blocks of TILE tokens, which a chat has in any order. A block's keys are a tile, (D, TILE), so that
// the scores of a tile are sums of whole vectors; its values lie token by token, (TILE, D). Numbers are float32, or
// bfloat16 where half the memory is worth more than their last bits.
//
// Queries of one chat are answered up to MOST at a time, so that keys and values are read once for all of them. A query
// that sees less than the others adds nothing but zeros for the rest: the order of its sums, and so its result, depends
// on what it sees itself and not on its company.
#pragma once

#include <algorithm>
#include <limits>

#include "vector.hpp"

namespace turnwise {

constexpr int TILE = 16;
constexpr int PARTS = TILE / WIDTH;  // vectors of a tile's row
constexpr int MOST = 4;              // queries at a time

inline void put(float* at, float value) { *at = value; }

// To the nearest bfloat16, of two as near to the even one.
inline void put(uint16_t* at, float value) {
    const uint32_t word = bits<uint32_t>(value);
    *at = uint16_t((word + 0x7FFF + ((word >> 16) & 1)) >> 16);
}

// Where a head's keys or values of a chat lie: block t is at `base + table[t] * stride`.
template <class Number>
struct Blocks {
    const Number* base;
    size_t stride;
    const int32_t* table;

    const Number* at(int t) const { return base + size_t(table[t]) * stride; }
};

// One head of one token, q, (D); it sees the tokens from..to. Its answer, (D), goes to `out`.
struct Query {
    const float* q;
    int from, to;
    float* out;
};

// scores[l] = q . k_l of TILES tiles from `first` on, for GROUP queries that share the keys. Several tiles at once, because
// a sum has to wait for itself.
template <int GROUP, int TILES, class Number>
inline void score_tiles(const Query* queries, int D, const Blocks<Number>& keys, int first, float* scores, int stride) {
    const float* q[GROUP];
    for (int g = 0; g < GROUP; g++) q[g] = queries[g].q;
    const Number* tiles[TILES];
    for (int t = 0; t < TILES; t++) tiles[t] = keys.at(first + t);
    Vec sums[GROUP][TILES * PARTS] = {};
    for (int d = 0; d < D; d++)
#pragma GCC unroll 8
        for (int i = 0; i < TILES * PARTS; i++) {
            const Vec key = weights(tiles[i / PARTS] + d * TILE + i % PARTS * WIDTH);
#pragma GCC unroll 4
            for (int g = 0; g < GROUP; g++) sums[g][i] += key * q[g][d];
        }
#pragma GCC unroll 4
    for (int g = 0; g < GROUP; g++)
#pragma GCC unroll 8
        for (int i = 0; i < TILES * PARTS; i++) store(scores + size_t(g) * stride + first * TILE + i * WIDTH, sums[g][i]);
}

template <int GROUP, class Number>
inline void score(const Query* queries, int D, const Blocks<Number>& keys, int first, int last, float* scores, int stride) {
    constexpr int TILES = PARTS * GROUP >= 8 ? 1 : PARTS * GROUP >= 4 ? 2 : 4;  // sums that the registers hold
    for (; first + TILES <= last; first += TILES) score_tiles<GROUP, TILES>(queries, D, keys, first, scores, stride);
    for (; first < last; first++) score_tiles<GROUP, 1>(queries, D, keys, first, scores, stride);
}

// Turns scores[from..to) into e^(scale (s - max)), zero elsewhere from `first` to `last`; returns their sum.
inline float soften(float* scores, int first, int last, int from, int to, float scale) {
    const float lowest = -std::numeric_limits<float>::infinity();
    for (int l = first; l < from; l++) scores[l] = lowest;
    for (int l = to; l < last; l++) scores[l] = lowest;
    Vec highest = all(lowest);
    for (int l = first; l < last; l += WIDTH) {
        const Vec s = load<Vec>(scores + l);
        highest = s > highest ? s : highest;
    }
    float top = highest[0];
    for (int i = 1; i < WIDTH; i++) top = std::max(top, highest[i]);
    Vec total = {};
    for (int l = first; l < last; l += WIDTH) {
        const Vec s = load<Vec>(scores + l);
        const Vec e = s == lowest ? Vec{} : exponential((s - top) * scale);
        store(scores + l, e);
        total += e;
    }
    return sum(total);
}

// out = sum over l of p_l v_l / total, CHUNK vectors of the head from d on, for GROUP queries.
template <int GROUP, int CHUNK, class Number>
inline void mix(const Query* queries, const float* p, int stride, const float* totals, const Blocks<Number>& values, int d,
                int D, int from, int to) {
    Vec sums[GROUP][CHUNK] = {};
    for (int l = from; l < to;) {
        const Number* block = values.at(l / TILE) + d;
        for (const int end = std::min(to, (l / TILE + 1) * TILE); l < end; l++)
#pragma GCC unroll 8
            for (int i = 0; i < CHUNK; i++) {
                const Vec value = weights(block + size_t(l % TILE) * D + i * WIDTH);
#pragma GCC unroll 4
                for (int g = 0; g < GROUP; g++) sums[g][i] += value * p[size_t(g) * stride + l];
            }
    }
#pragma GCC unroll 4
    for (int g = 0; g < GROUP; g++)
#pragma GCC unroll 8
        for (int i = 0; i < CHUNK; i++) store(queries[g].out + d + i * WIDTH, sums[g][i] / totals[g]);
}

template <int GROUP, class Number>
inline void attend_together(const Query* queries, int D, const Blocks<Number>& keys, const Blocks<Number>& values,
                            float* scratch, int stride) {
    constexpr int CHUNK = GROUP == 1 ? 8 : 4;
    const float scale = 1.0f / std::sqrt(float(D));
    int from = queries[0].from, to = queries[0].to;
    for (int g = 1; g < GROUP; g++) from = std::min(from, queries[g].from), to = std::max(to, queries[g].to);
    const int first = from / TILE, last = (to + TILE - 1) / TILE;
    score<GROUP>(queries, D, keys, first, last, scratch, stride);
    float totals[GROUP];
    for (int g = 0; g < GROUP; g++)
        totals[g] = soften(scratch + size_t(g) * stride, first * TILE, last * TILE, queries[g].from, queries[g].to, scale);
    int d = 0;
    for (; d + CHUNK * WIDTH <= D; d += CHUNK * WIDTH)
        mix<GROUP, CHUNK>(queries, scratch, stride, totals, values, d, D, from, to);
    for (; d < D; d += WIDTH) mix<GROUP, 1>(queries, scratch, stride, totals, values, d, D, from, to);
}

// All of it for up to MOST queries of one chat and one key/value head; scratch: MOST * stride floats.
template <class Number>
NOINLINE void attend(const Query* queries, int count, int D, const Blocks<Number>& keys, const Blocks<Number>& values,
                     float* scratch, int stride) {
    switch (count) {
        case 1: return attend_together<1>(queries, D, keys, values, scratch, stride);
        case 2: return attend_together<2>(queries, D, keys, values, scratch, stride);
        case 3: return attend_together<3>(queries, D, keys, values, scratch, stride);
        default: attend_together<4>(queries, D, keys, values, scratch, stride);
    }
}

}  // namespace turnwise
