// Low-rank updates of unmerged LoRA adapters (Hu et al. 2021), computed beside the base matrix.
#pragma once

#include "linear.hpp"
#include "structs.hpp"

namespace turnwise {

// A x for WIDTH ranks of one row; `down` is (inputs, WIDTH). A sum waits for its last addition, so four sums alternate.
inline Vec lora_down(const float* x, const float* down, int inputs) {
    Vec sums[4] = {};
    int i = 0;
    for (; i + 4 <= inputs; i += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) sums[k] += x[i + k] * load<Vec>(down + (i + k) * WIDTH);
    for (; i < inputs; i++) sums[0] += x[i] * load<Vec>(down + i * WIDTH);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// B h for WIDTH outputs of a panel over the ranks [first, end), in two alternating sums; `up` is (rank, PANEL).
inline Vec lora_up(const float* h, const float* up, int first, int end) {
    Vec sums[2] = {};
    for (int k = first; k + 2 <= end; k += 2) {
        sums[0] += h[k] * load<Vec>(up + k * PANEL);
        sums[1] += h[k + 1] * load<Vec>(up + (k + 1) * PANEL);
    }
    if ((end - first) % 2) sums[0] += h[end - 1] * load<Vec>(up + (end - 1) * PANEL);
    return sums[0] + sums[1];
}

// Adds B h to the PANEL base outputs `sums` of one row, and applies the DoRA scale. Ranks in which this panel of B is zero
// are skipped: a joined matrix such as QKV has separate ranks for each of its parts.
inline void add_lora_up(const LoraMatrix& lora, const float* h, int panel, float* sums) {
    const float* up = lora.up + size_t(panel) * lora.rank * PANEL;
    const int first = lora.nonzero_ranks[2 * panel], end = lora.nonzero_ranks[2 * panel + 1];
    Vec low = lora_up(h, up, first, end), high = lora_up(h, up + WIDTH, first, end);
    low += load<Vec>(sums), high += load<Vec>(sums + WIDTH);
    if (lora.dora_scale) {
        low *= load<Vec>(lora.dora_scale + panel * PANEL);
        high *= load<Vec>(lora.dora_scale + panel * PANEL + WIDTH);
    }
    store(sums, low);
    store(sums + WIDTH, high);
}

}  // namespace turnwise
