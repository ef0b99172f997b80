// Rows times a matrix of weights.
//
// A matrix (out, in) is stored in panels of PANEL outputs, each (in, PANEL), so that a pass over the inputs reads memory
// in one line. Every output is summed over the inputs in order, however many rows there are and however they are tiled: a
// chat's numbers do not depend on its company.
#pragma once

#include <algorithm>

#include "vector.hpp"

namespace turnwise {

constexpr int PANEL = 2 * WIDTH;
constexpr int TALLEST = 6;      // rows in a tile: 6 x 2 sums, 2 weights and 1 input nearly fill the 16 registers of AVX2
constexpr int ROW_BLOCK = 48;   // rows worked on together, so that they stay in the second-level cache

// One tile: ROWS rows by PANELS panels of sums, kept in registers over all inputs.
template <int ROWS, int PANELS, class Weight>
inline void tile(const float* x, int inputs, const Weight* panel, float* out) {
    Vec sums[ROWS][2 * PANELS] = {};
    const size_t stride = size_t(inputs) * PANEL;
    for (int k = 0; k < inputs; k++) {
        Vec w[2 * PANELS];
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++) w[p] = weights(panel + (p / 2) * stride + k * PANEL + (p % 2) * WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const Vec input = all(x[size_t(r) * inputs + k]);
#pragma GCC unroll 8
            for (int p = 0; p < 2 * PANELS; p++) sums[r][p] += input * w[p];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++) store(out + (r * PANELS + p / 2) * PANEL + (p % 2) * WIDTH, sums[r][p]);
}

// Calls done(row, panel, sums) for all rows and for panels from..to; `sums` are PANEL outputs.
template <class Weight, class Done>
class Linear {
  public:
    Linear(const float* x, int rows, int inputs, const Weight* matrix, float* widened, Done done)
        : x_(x), rows_(rows), inputs_(inputs), matrix_(matrix), widened_(widened), done_(done) {}

    void run(int from, int to) {
        for (int start = 0; start < rows_; start += ROW_BLOCK) {
            const int count = std::min(ROW_BLOCK, rows_ - start);
            int panel = from;
            // Few rows keep few sums: several panels at once keep the arithmetic units busy.
            if (count == 1)
                for (; panel + 4 <= to; panel += 4) few<1, 4>(start, panel);
            else if (count == 2)
                for (; panel + 2 <= to; panel += 2) few<2, 2>(start, panel);
            else if (count == 3)
                for (; panel + 2 <= to; panel += 2) few<3, 2>(start, panel);
            for (; panel < to; panel++) {
                const Weight* weights_at = matrix_ + size_t(panel) * inputs_ * PANEL;
                if (sizeof(Weight) == sizeof(float) || count <= 2 * TALLEST) {
                    block(start, count, panel, weights_at);
                } else {  // many rows: turn the panel into floats once for all of them
                    for (int i = 0; i < inputs_ * PANEL; i += WIDTH) store(widened_ + i, weights(weights_at + i));
                    block(start, count, panel, widened_);
                }
            }
        }
    }

  private:
    template <int ROWS, int PANELS>
    void few(int start, int panel) {
        alignas(64) float sums[ROWS * PANELS * PANEL];
        tile<ROWS, PANELS>(at(start), inputs_, matrix_ + size_t(panel) * inputs_ * PANEL, sums);
        for (int r = 0; r < ROWS; r++)
            for (int p = 0; p < PANELS; p++) done_(start + r, panel + p, sums + (r * PANELS + p) * PANEL);
    }

    template <class W>
    void block(int start, int count, int panel, const W* weights_at) {
        alignas(64) float sums[TALLEST * PANEL];
        const int tiles = (count + TALLEST - 1) / TALLEST;
        for (int i = 0; i < tiles; i++) {  // as even as can be: 8 rows are 4 and 4, not 6 and 2
            const int first = start + count * i / tiles, rows = start + count * (i + 1) / tiles - first;
            switch (rows) {
                case 1: tile<1, 1>(at(first), inputs_, weights_at, sums); break;
                case 2: tile<2, 1>(at(first), inputs_, weights_at, sums); break;
                case 3: tile<3, 1>(at(first), inputs_, weights_at, sums); break;
                case 4: tile<4, 1>(at(first), inputs_, weights_at, sums); break;
                case 5: tile<5, 1>(at(first), inputs_, weights_at, sums); break;
                default: tile<6, 1>(at(first), inputs_, weights_at, sums);
            }
            for (int r = 0; r < rows; r++) done_(first + r, panel, sums + r * PANEL);
        }
    }

    const float* at(int row) const { return x_ + size_t(row) * inputs_; }

    const float* x_;
    int rows_, inputs_;
    const Weight* matrix_;
    float* widened_;
    Done done_;
};

}  // namespace turnwise
