// Rows times a matrix of floats, and the order in which rows and outputs are gone through for any matrix.
//
// A matrix (out, in) is stored in panels of PANEL outputs, each (in, PANEL), so that a pass over the inputs reads memory
// in one line. Every output is summed over the inputs in order, however many rows there are and however they are tiled: a
// chat's numbers do not depend on its company.
#pragma once

#include <algorithm>

#include "vector.hpp"

namespace turnwise {

constexpr int PANEL = 2 * WIDTH;
constexpr int FEW_ROWS_PANELS = 4;  // panels that one row is multiplied with at a time
constexpr int ROW_BLOCK = 48;  // rows worked on together, so that they stay in the second-level cache

// One tile: ROWS rows by PANELS panels of sums, (ROWS, PANELS, PANEL), kept in registers over all inputs. Meanwhile the
// bfloat16 weights at `ahead`, if any, are fetched from memory, which would otherwise idle.
template <int ROWS, int PANELS, class Weight>
NOINLINE void float_tile(const float* x, int inputs, const Weight* panel, const uint16_t* ahead, float* out) {
    Vec sums[ROWS][2 * PANELS] = {};
    const size_t stride = size_t(inputs) * PANEL;
    for (int k = 0; k < inputs; k++) {
        if (ahead) __builtin_prefetch(ahead + k * PANEL);
        Vec w[2 * PANELS];
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++) w[p] = weights(panel + (p / 2) * stride + k * PANEL + (p % 2) * WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
            const Vec input = all(x[size_t(r) * inputs + k]);
#pragma GCC unroll 8
            for (int p = 0; p < 2 * PANELS; p++) sums[r][p] += input * w[p];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++) store(out + (r * PANELS + p / 2) * PANEL + (p % 2) * WIDTH, sums[r][p]);
}

// A product of rows with a matrix of floats, stored as such or as bfloat16.
template <class Weight>
class FloatProduct {
  public:
    // Rows in a tile: 6 x 2 sums, 2 weights and 1 input nearly fill the 16 registers of AVX2; AVX-512 has 32.
    static constexpr int TALLEST = WIDTH == 16 ? 8 : 6;

    FloatProduct(const float* x, int inputs, const void* matrix, float* widened)
        : x_(x), inputs_(inputs), matrix_((const Weight*)matrix), widened_(widened) {}

    // Called before the tiles of one panel with all `rows`: many rows have bfloat16 turned into floats once for all.
    void open(int panel, int rows) {
        if (sizeof(Weight) == sizeof(float)) return;
        const Weight* from = matrix_ + size_t(panel) * inputs_ * PANEL;
        ahead_ = (const uint16_t*)(from + size_t(inputs_) * PANEL);
        wide_ = rows > 2 * 6;
        if (!wide_) return;
        for (int i = 0; i < inputs_ * PANEL; i += WIDTH) store(widened_ + i, weights(from + i));
    }

    void close() { wide_ = false; }

    template <int ROWS, int PANELS>
    void tile(int row, int panel, float* out) {
        const float* x = x_ + size_t(row) * inputs_;
        const uint16_t* ahead = ahead_;
        ahead_ = nullptr;  // the first of a panel's tiles fetches the next panel
        if (wide_) float_tile<ROWS, PANELS>(x, inputs_, widened_, ahead, out);
        else float_tile<ROWS, PANELS>(x, inputs_, matrix_ + size_t(panel) * inputs_ * PANEL, ahead, out);
    }

  private:
    const float* x_;
    const int inputs_;
    const Weight* matrix_;
    float* widened_;
    const uint16_t* ahead_ = nullptr;
    bool wide_ = false;
};

// Calls done(row, panel, sums) for rows start..end, a ROW_BLOCK at most, and for panels from..to; `sums` are PANEL outputs.
template <class Product, class Done>
class Linear {
  public:
    Linear(Product product, int start, int end, Done done) : product_(product), start_(start), end_(end), done_(done) {}

    void run(int from, int to) {
        const int count = end_ - start_;
        int panel = from;
        // Few rows keep few sums: several panels at once keep the arithmetic units busy.
        if (count == 1)
            for (; panel + FEW_ROWS_PANELS <= to; panel += FEW_ROWS_PANELS) tile<1, FEW_ROWS_PANELS>(start_, panel);
        else if (count == 2)
            for (; panel + 2 <= to; panel += 2) tile<2, 2>(start_, panel);
        else if (count == 3)
            for (; panel + 2 <= to; panel += 2) tile<3, 2>(start_, panel);
        for (; panel < to; panel++) {
            product_.open(panel, count);
            const int tiles = (count + Product::TALLEST - 1) / Product::TALLEST;
            for (int i = 0; i < tiles; i++) {  // as even as can be: 8 rows are 4 and 4, not 6 and 2
                const int first = count * i / tiles, last = count * (i + 1) / tiles;
                column<Product::TALLEST>(start_ + first, last - first, panel);
            }
            product_.close();
        }
    }

  private:
    // A tile of `rows` rows, at most ROWS: the number is known to the compiler in the end.
    template <int ROWS>
    void column(int row, int rows, int panel) {
        if constexpr (ROWS > 1)
            if (rows < ROWS) return column<ROWS - 1>(row, rows, panel);
        tile<ROWS, 1>(row, panel);
    }

    template <int ROWS, int PANELS>
    void tile(int row, int panel) {
        alignas(64) float sums[ROWS * PANELS * PANEL];
        product_.template tile<ROWS, PANELS>(row, panel, sums);
        for (int r = 0; r < ROWS; r++)
            for (int p = 0; p < PANELS; p++) done_(row + r, panel + p, sums + (r * PANELS + p) * PANEL);
    }

    Product product_;
    const int start_, end_;
    Done done_;
};

}  // namespace turnwise
