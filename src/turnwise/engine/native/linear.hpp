// Linear layers over float weights, and the tiling of rows and outputs that all linear layers share.
//
// Layout: a weight matrix (outputs, inputs) is stored in panels of PANEL outputs, each panel (inputs, PANEL), so that a loop
// over the inputs reads memory sequentially and gets whole vectors of outputs.
//
// Batch invariance: every output is summed over the inputs in ascending order, one accumulator per output, whatever the
// number of rows and the tile shape. A row's numbers therefore never depend on the other rows of the batch.
#pragma once

#include <algorithm>

#include "simd.hpp"

namespace turnwise {

constexpr int PANEL = 2 * WIDTH;
constexpr int SINGLE_ROW_PANELS = 4;  // panels per tile when there is one row
constexpr int ROW_BLOCK = 48;         // rows processed together: their activations stay in the L2 cache

// One tile: ROWS rows times PANELS panels of sums, (ROWS, PANELS, PANEL), held in registers over all inputs. The bfloat16
// weights at `prefetch`, if not null, are fetched meanwhile: the arithmetic of a tile with many rows leaves memory idle.
template <int ROWS, int PANELS, class Weight>
NOINLINE void float_tile(const float* x, int inputs, const Weight* panel, const uint16_t* prefetch, float* out) {
    Vec sums[ROWS][2 * PANELS] = {};
    const size_t panel_stride = size_t(inputs) * PANEL;
    for (int k = 0; k < inputs; k++) {
        if (prefetch) __builtin_prefetch(prefetch + k * PANEL);
        Vec w[2 * PANELS];
        // The loops over tile dimensions are unrolled so that `sums` and `w` become registers.
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++)
            w[p] = load_as_float(panel + (p / 2) * panel_stride + k * PANEL + (p % 2) * WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
            const Vec input = broadcast(x[size_t(r) * inputs + k]);
#pragma GCC unroll 8
            for (int p = 0; p < 2 * PANELS; p++) sums[r][p] += input * w[p];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int p = 0; p < 2 * PANELS; p++) store(out + (r * PANELS + p / 2) * PANEL + (p % 2) * WIDTH, sums[r][p]);
}

// The tile kernel for float32 or bfloat16 weights.
template <class Weight>
class FloatKernel {
  public:
    // Registers of a tile: 6 x 2 sums, 2 weights and 1 input of the 16 of AVX2; AVX-512 has 32.
    static constexpr int MAX_TILE_ROWS = WIDTH == 16 ? 8 : 6;

    // `panel_buffer` has space for one panel of float32 weights.
    FloatKernel(const float* x, int inputs, const void* matrix, float* panel_buffer)
        : x_(x), inputs_(inputs), matrix_((const Weight*)matrix), panel_buffer_(panel_buffer) {}

    // Called before the tiles of one panel, which together have `rows` rows. From a third tile on, widening bfloat16 once
    // into a buffer costs less than widening it in every tile.
    void begin_panel(int panel, int rows) {
        if (sizeof(Weight) == sizeof(float)) return;
        const Weight* weights = matrix_ + size_t(panel) * inputs_ * PANEL;
        prefetch_ = (const uint16_t*)(weights + size_t(inputs_) * PANEL);
        is_buffered_ = rows > 2 * 6;
        if (!is_buffered_) return;
        for (int i = 0; i < inputs_ * PANEL; i += WIDTH) store(panel_buffer_ + i, load_as_float(weights + i));
    }

    void end_panel() { is_buffered_ = false; }

    template <int ROWS, int PANELS>
    void tile(int row, int panel, float* out) {
        const float* x = x_ + size_t(row) * inputs_;
        const uint16_t* prefetch = prefetch_;
        prefetch_ = nullptr;  // only the first tile of a panel prefetches the next panel
        if (is_buffered_) float_tile<ROWS, PANELS>(x, inputs_, panel_buffer_, prefetch, out);
        else float_tile<ROWS, PANELS>(x, inputs_, matrix_ + size_t(panel) * inputs_ * PANEL, prefetch, out);
    }

  private:
    const float* x_;
    const int inputs_;
    const Weight* matrix_;
    float* panel_buffer_;
    const uint16_t* prefetch_ = nullptr;
    bool is_buffered_ = false;
};

// Splits rows start..end (at most ROW_BLOCK) times a range of panels into tiles, and calls epilogue(row, panel, sums) with
// the PANEL sums of each row and panel.
template <class Kernel, class Epilogue>
class TiledLinear {
  public:
    TiledLinear(Kernel kernel, int start, int end, Epilogue epilogue)
        : kernel_(kernel), start_(start), end_(end), epilogue_(epilogue) {}

    void run(int first_panel, int end_panel) {
        const int rows = end_ - start_;
        int panel = first_panel;
        // An accumulator waits several cycles for its last addition. With few rows, more panels per tile give enough
        // independent accumulators to keep the arithmetic units busy.
        if (rows == 1)
            for (; panel + SINGLE_ROW_PANELS <= end_panel; panel += SINGLE_ROW_PANELS)
                tile<1, SINGLE_ROW_PANELS>(start_, panel);
        else if (rows == 2)
            for (; panel + 2 <= end_panel; panel += 2) tile<2, 2>(start_, panel);
        else if (rows == 3)
            for (; panel + 2 <= end_panel; panel += 2) tile<3, 2>(start_, panel);
        for (; panel < end_panel; panel++) {
            kernel_.begin_panel(panel, rows);
            const int tiles = (rows + Kernel::MAX_TILE_ROWS - 1) / Kernel::MAX_TILE_ROWS;
            for (int i = 0; i < tiles; i++) {  // equal heights: 8 rows are 4 and 4, not 6 and 2
                const int first = rows * i / tiles, last = rows * (i + 1) / tiles;
                tile_of_height<Kernel::MAX_TILE_ROWS>(start_ + first, last - first, panel);
            }
            kernel_.end_panel();
        }
    }

  private:
    // Dispatches to the tile with ROWS == rows: the height must be known at compile time.
    template <int ROWS>
    void tile_of_height(int row, int rows, int panel) {
        if constexpr (ROWS > 1)
            if (rows < ROWS) return tile_of_height<ROWS - 1>(row, rows, panel);
        tile<ROWS, 1>(row, panel);
    }

    template <int ROWS, int PANELS>
    void tile(int row, int panel) {
        alignas(64) float sums[ROWS * PANELS * PANEL];
        kernel_.template tile<ROWS, PANELS>(row, panel, sums);
        for (int r = 0; r < ROWS; r++)
            for (int p = 0; p < PANELS; p++) epilogue_(row + r, panel + p, sums + (r * PANELS + p) * PANEL);
    }

    Kernel kernel_;
    const int start_, end_;
    Epilogue epilogue_;
};

}  // namespace turnwise
