// One query row's attention over the keys and values its chat has in the cache.
//
// The cache is cut into blocks of TILE tokens, which a chat has in any order. A block's keys are a tile, (D, TILE), so that
// the scores of a tile are sums of whole vectors; its values lie token by token, (TILE, D). The order of every sum depends
// on the chat's own length alone, so its result does too.
#pragma once

#include <algorithm>
#include <limits>

#include "vector.hpp"

namespace turnwise {

constexpr int TILE = 16;

// Where a head's keys or values of a chat lie: block t is at `base + table[t] * stride`.
struct Blocks {
    const float* base;
    size_t stride;
    const int32_t* table;

    const float* at(int t) const { return base + size_t(table[t]) * stride; }
};

// scores[l] = q . k_l for the tiles first..last, for GROUP queries that share the keys.
template <int GROUP>
inline void score(const float* q, int D, const Blocks& keys, int first, int last, float* scores, int stride) {
    constexpr int PARTS = TILE / WIDTH;
    for (int t = first; t < last; t++) {
        const float* tile = keys.at(t);
        Vec sums[GROUP][PARTS] = {};
        for (int d = 0; d < D; d++)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++) {
                const Vec key = load<Vec>(tile + d * TILE + p * WIDTH);
#pragma GCC unroll 4
                for (int g = 0; g < GROUP; g++) sums[g][p] += key * q[g * D + d];
            }
#pragma GCC unroll 4
        for (int g = 0; g < GROUP; g++)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++) store(scores + size_t(g) * stride + t * TILE + p * WIDTH, sums[g][p]);
    }
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

// out = sum over l of p_l v_l / total, CHUNK vectors of the head at a time.
template <int CHUNK>
inline void mix(const float* p, float total, const Blocks& values, int d, int D, int from, int to, float* out) {
    Vec sums[CHUNK] = {};
    for (int l = from; l < to;) {
        const float* block = values.at(l / TILE) + d;
        for (const int end = std::min(to, (l / TILE + 1) * TILE); l < end; l++)
#pragma GCC unroll 8
            for (int i = 0; i < CHUNK; i++) sums[i] += load<Vec>(block + size_t(l % TILE) * D + i * WIDTH) * p[l];
    }
#pragma GCC unroll 8
    for (int i = 0; i < CHUNK; i++) store(out + i * WIDTH, sums[i] / total);
}

// All of it for the `group` query heads of one key/value head.
//   q, out: (group, D); scratch: 4 * stride floats.
inline void attend(const float* q, int group, int D, const Blocks& keys, const Blocks& values, int from, int to,
                   float* scratch, int stride, float* out) {
    const float scale = 1.0f / std::sqrt(float(D));
    const int first = from / TILE, last = (to + TILE - 1) / TILE;
    for (int g = 0; g < group;) {
        const int together = std::min(4, group - g);
        switch (together) {
            case 1: score<1>(q + g * D, D, keys, first, last, scratch, stride); break;
            case 2: score<2>(q + g * D, D, keys, first, last, scratch, stride); break;
            case 3: score<3>(q + g * D, D, keys, first, last, scratch, stride); break;
            default: score<4>(q + g * D, D, keys, first, last, scratch, stride);
        }
        for (int i = 0; i < together; i++, g++) {
            float* p = scratch + size_t(i) * stride;
            const float total = soften(p, from, to, scale);
            int d = 0;
            for (; d + 8 * WIDTH <= D; d += 8 * WIDTH) mix<8>(p, total, values, d, D, from, to, out + g * D + d);
            for (; d + 4 * WIDTH <= D; d += 4 * WIDTH) mix<4>(p, total, values, d, D, from, to, out + g * D + d);
            for (; d < D; d += WIDTH) mix<1>(p, total, values, d, D, from, to, out + g * D + d);
        }
    }
}

}  // namespace turnwise
