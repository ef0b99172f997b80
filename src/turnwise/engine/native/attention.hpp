// One query row's attention over the keys and values its chat has in the cache.
//
// The cache is cut into blocks of TILE tokens, which a chat has in any order. A block's keys are a tile, (D, TILE), so that
// the scores of a tile are sums of whole vectors; its values lie token by token, (TILE, D). Numbers are float32, or
// bfloat16 where half the memory is worth more than their last bits. The order of every sum depends on the chat's own
// length alone, so its result does too.
#pragma once

#include <algorithm>
#include <limits>

#include "vector.hpp"

namespace turnwise {

constexpr int TILE = 16;
constexpr int PARTS = TILE / WIDTH;  // vectors of a tile's row

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

// scores[l] = q . k_l of TILES tiles from `first` on, for GROUP queries that share the keys. Several tiles at once, because
// a sum has to wait for itself.
template <int GROUP, int TILES, class Number>
inline void score_tiles(const float* q, int D, const Blocks<Number>& keys, int first, float* scores, int stride) {
    const Number* tiles[TILES];
    for (int t = 0; t < TILES; t++) tiles[t] = keys.at(first + t);
    Vec sums[GROUP][TILES * PARTS] = {};
    for (int d = 0; d < D; d++)
#pragma GCC unroll 8
        for (int i = 0; i < TILES * PARTS; i++) {
            const Vec key = weights(tiles[i / PARTS] + d * TILE + i % PARTS * WIDTH);
#pragma GCC unroll 4
            for (int g = 0; g < GROUP; g++) sums[g][i] += key * q[g * D + d];
        }
#pragma GCC unroll 4
    for (int g = 0; g < GROUP; g++)
#pragma GCC unroll 8
        for (int i = 0; i < TILES * PARTS; i++) store(scores + size_t(g) * stride + first * TILE + i * WIDTH, sums[g][i]);
}

template <int GROUP, class Number>
inline void score(const float* q, int D, const Blocks<Number>& keys, int first, int last, float* scores, int stride) {
    constexpr int TILES = PARTS * GROUP >= 8 ? 1 : PARTS * GROUP >= 4 ? 2 : 4;  // sums that the registers hold
    for (; first + TILES <= last; first += TILES) score_tiles<GROUP, TILES>(q, D, keys, first, scores, stride);
    for (; first < last; first++) score_tiles<GROUP, 1>(q, D, keys, first, scores, stride);
}

// Turns scores[from..to) into e^(scale (s - max)), zero elsewhere in their tiles; returns their sum.
inline float soften(float* scores, int from, int to, float scale) {
    const int first = from / TILE * TILE, last = (to + TILE - 1) / TILE * TILE;
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
inline void mix(const float* p, int stride, const float* totals, const Blocks<Number>& values, int d, int D, int from,
                int to, float* out) {
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
        for (int i = 0; i < CHUNK; i++) store(out + g * D + d + i * WIDTH, sums[g][i] / totals[g]);
}

// GROUP of the query heads of one key/value head.
template <int GROUP, class Number>
inline void attend_together(const float* q, int D, const Blocks<Number>& keys, const Blocks<Number>& values, int from,
                            int to, float* scratch, int stride, float* out) {
    constexpr int CHUNK = GROUP == 1 ? 8 : 4;
    const float scale = 1.0f / std::sqrt(float(D));
    score<GROUP>(q, D, keys, from / TILE, (to + TILE - 1) / TILE, scratch, stride);
    float totals[GROUP];
    for (int g = 0; g < GROUP; g++) totals[g] = soften(scratch + size_t(g) * stride, from, to, scale);
    int d = 0;
    for (; d + CHUNK * WIDTH <= D; d += CHUNK * WIDTH)
        mix<GROUP, CHUNK>(scratch, stride, totals, values, d, D, from, to, out);
    for (; d < D; d += WIDTH) mix<GROUP, 1>(scratch, stride, totals, values, d, D, from, to, out);
}

// All of it for the `group` query heads of one key/value head.
//   q, out: (group, D); scratch: 4 * stride floats.
template <class Number>
NOINLINE void attend(const float* q, int group, int D, const Blocks<Number>& keys, const Blocks<Number>& values, int from,
                     int to, float* scratch, int stride, float* out) {
    for (int g = 0; g < group;) {
        const int together = std::min(4, group - g);
        const float* at = q + g * D;
        float* to_at = out + g * D;
        switch (together) {
            case 1: attend_together<1>(at, D, keys, values, from, to, scratch, stride, to_at); break;
            case 2: attend_together<2>(at, D, keys, values, from, to, scratch, stride, to_at); break;
            case 3: attend_together<3>(at, D, keys, values, from, to, scratch, stride, to_at); break;
            default: attend_together<4>(at, D, keys, values, from, to, scratch, stride, to_at);
        }
        g += together;
    }
}

}  // namespace turnwise
