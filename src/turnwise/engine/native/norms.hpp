// Row-wise operations: RMSNorm, LayerNorm and rotary position embeddings.
#pragma once

#include "simd.hpp"
#include "structs.hpp"

namespace turnwise {

inline Vec squared_sum(const float* x, int n) {
    Vec total = {};
    for (int i = 0; i < n; i += WIDTH) total += load<Vec>(x + i) * load<Vec>(x + i);
    return total;
}

// Zhang & Sennrich 2019. `out` may be `x`.
inline void rms_norm(const float* x, int n, float eps, NormWeights norm, float* out) {
    const float scale = 1.0f / std::sqrt(horizontal_sum(squared_sum(x, n)) / n + eps);
    for (int i = 0; i < n; i += WIDTH) store(out + i, load<Vec>(x + i) * scale * load<Vec>(norm.weight + i));
}

// Ba et al. 2016. Two passes: the variance of the differences from the mean loses no digits to cancellation.
inline void layer_norm(const float* x, int n, float eps, NormWeights norm, float* out) {
    Vec total = {};
    for (int i = 0; i < n; i += WIDTH) total += load<Vec>(x + i);
    const float mean = horizontal_sum(total) / n;
    Vec squares = {};
    for (int i = 0; i < n; i += WIDTH) {
        const Vec difference = load<Vec>(x + i) - mean;
        squares += difference * difference;
    }
    const float scale = 1.0f / std::sqrt(horizontal_sum(squares) / n + eps);
    for (int i = 0; i < n; i += WIDTH) {
        const Vec y = (load<Vec>(x + i) - mean) * scale * load<Vec>(norm.weight + i);
        store(out + i, norm.bias ? y + load<Vec>(norm.bias + i) : y);
    }
}

// RoPE (Su et al. 2021) of one head, in place. Dimension i is rotated with dimension i + D / 2, as in transformers.
inline void apply_rope(float* x, int D, const float* cos, const float* sin) {
    for (int i = 0; i < D / 2; i++) {
        const float first = x[i], second = x[i + D / 2];
        x[i] = first * cos[i] - second * sin[i];
        x[i + D / 2] = second * cos[i + D / 2] + first * sin[i + D / 2];
    }
}

}  // namespace turnwise
