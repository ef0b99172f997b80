// Linear layers over packed matrices of any format, on a thread pool: the base of the decoder and the encoder.
//
// Constants of other headers: PANEL (linear.hpp): outputs of a weight matrix that are stored together. ROW_BLOCK (linear.hpp):
// rows that are processed together. SINGLE_ROW_PANELS (linear.hpp): panels per tile when there is one row. GROUP
// (weight_formats.hpp): inputs that share a scale.
#pragma once

#include <vector>

#include "linear.hpp"
#include "quantized_linear.hpp"
#include "structs.hpp"
#include "thread_pool.hpp"

namespace turnwise {
namespace {  // internal linkage: builds for different instruction sets are loaded side by side

class LinearLayers {
  public:
    ThreadPool& pool() { return pool_; }

  protected:
    explicit LinearLayers(int threads) : pool_(threads), panel_buffers_(threads) {}

    // Every matrix is registered before the first pass, so that the buffers fit it.
    void use_matrix(const PackedMatrix& matrix) {
        max_inputs_ = std::max(max_inputs_, matrix.inputs);
        has_integer_weights_ |= has_integers(matrix);
    }

    // Keeps the threads awake between the phases of a pass, and lets them sleep at its end, also after an exception.
    struct Pass {
        explicit Pass(ThreadPool& pool) : pool(pool) { pool.begin_pass(); }
        ~Pass() { pool.end_pass(); }
        ThreadPool& pool;
    };

    // Buffers only grow, so that a steady load allocates nothing.
    template <class T>
    static void grow(std::vector<T>& buffer, size_t size) {
        if (buffer.size() < size) buffer.resize(size);
    }

    // Prepares the buffers for linear layers of `rows` rows.
    void grow_linear_buffers(size_t rows) {
        for (auto& buffer : panel_buffers_) grow(buffer, size_t(max_inputs_) * PANEL);
        if (!has_integer_weights_) return;
        const size_t max_groups = rows * num_groups(max_inputs_);
        grow(quantized_values_, max_groups * GROUP);
        grow(quantized_scales_, max_groups);
        grow(quantized_half_sums_, 2 * max_groups);
    }

    static int num_panels(const PackedMatrix& matrix) { return (matrix.outputs + PANEL - 1) / PANEL; }

    static bool has_integers(const PackedMatrix& matrix) {
        return std::any_of(matrix.segments, matrix.segments + matrix.num_segments,
                           [](const MatrixSegment& segment) { return is_integer(segment.format); });
    }

    // Calls epilogue(row, panel, sums, thread) with the sums of x W for all rows and panels. Panels 2i and 2i + 1 of a row
    // are handled one after the other by the same thread.
    template <class Epilogue>
    void multiply(const float* x, int rows, const PackedMatrix& matrix, Epilogue epilogue) {
        const bool is_quantized = has_integers(matrix);
        const QuantizedRows quantized = is_quantized ? quantize_rows(x, rows, matrix) : QuantizedRows{};
        // Reading the weights costs about as much as one row of multiplications, hence rows + 1. Quantized weights are
        // smaller and an instruction multiplies more of them: about half the cost.
        const int64_t cost = int64_t(matrix.inputs) * matrix.outputs * (rows + 1) / (is_quantized ? 2 : 1);
        const int panels = num_panels(matrix), blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
        const int padded_panels = (panels + SINGLE_ROW_PANELS - 1) / SINGLE_ROW_PANELS * SINGLE_ROW_PANELS;
        static_assert(SINGLE_ROW_PANELS % 2 == 0, "a gate panel and its up panel must be in one chunk");
        // Items are panels of the first block of rows, then panels of the next block, so that all threads work on the same
        // rows at a time and share them in the cache.
        pool_.run(blocks * padded_panels, cost, [&](int first, int last, int thread) {
            for (int from = first, to; from < last; from = to) {
                const int block = from / padded_panels;
                to = std::min(last, (block + 1) * padded_panels);
                const int start = block * ROW_BLOCK, end = std::min(rows, start + ROW_BLOCK);
                const int first_panel = from - block * padded_panels;
                const int end_panel = std::min(panels, to - block * padded_panels);
                int segment_start = 0;  // first panel of the segment
                for (int i = 0; i < matrix.num_segments; segment_start += matrix.segments[i++].num_panels) {
                    const MatrixSegment& segment = matrix.segments[i];
                    const int run_from = std::max(first_panel - segment_start, 0);
                    const int run_to = std::min(end_panel - segment_start, segment.num_panels);
                    if (run_from >= run_to) continue;
                    const auto panel_epilogue = [&, segment_start](int row, int panel, float* sums) {
                        epilogue(row, segment_start + panel, sums, thread);
                    };
                    float* panel_buffer = panel_buffers_[thread].data();
                    with_format(segment.format, [&](auto format) {
                        const auto kernel = make_kernel<decltype(format)::value>(x, quantized, matrix.inputs, segment,
                                                                                 panel_buffer);
                        TiledLinear<std::decay_t<decltype(kernel)>, decltype(panel_epilogue)>(kernel, start, end, panel_epilogue)
                            .run(run_from, run_to);
                    });
                }
            }
        }, SINGLE_ROW_PANELS);
    }

    // out[row] = (or += with ADD) x W + b for the first `columns` outputs. update(row, panel, sums) changes the sums before
    // the bias is added.
    template <bool ADD, class Update>
    void linear(const float* x, int rows, const PackedMatrix& matrix, float* out, int stride, int columns, Update update) {
        multiply(x, rows, matrix, [&](int row, int panel, float* sums, int) {
            update(row, panel, sums);
            float* target = out + size_t(row) * stride + panel * PANEL;
            const float* bias = matrix.bias ? matrix.bias + panel * PANEL : nullptr;
            const int count = std::min(PANEL, columns - panel * PANEL);
            for (int i = 0; i < count; i++) {
                const float value = bias ? sums[i] + bias[i] : sums[i];
                target[i] = ADD ? target[i] + value : value;
            }
        });
    }

    ThreadPool pool_;

  private:
    // The tile kernel of a format: over float activations `x`, or over quantized ones.
    template <int FORMAT>
    static auto make_kernel(const float* x, QuantizedRows quantized, int inputs, const MatrixSegment& segment,
                            float* panel_buffer) {
        if constexpr (FORMAT == FLOAT32) return FloatKernel<float>(x, inputs, segment.weights, panel_buffer);
        else if constexpr (FORMAT == BFLOAT16) return FloatKernel<uint16_t>(x, inputs, segment.weights, panel_buffer);
        else return QuantizedKernel<FORMAT>(quantized, inputs, segment);
    }

    // Quantizes activations; the result is valid until the next call.
    QuantizedRows quantize_rows(const float* x, int rows, const PackedMatrix& matrix) {
        QuantizedRows quantized{quantized_values_.data(), quantized_scales_.data(), quantized_half_sums_.data()};
        const int row_groups = num_groups(matrix.inputs);
        pool_.run(rows * row_groups, int64_t(rows) * matrix.inputs * 4, [&](int from, int to, int) {
            for (int index = from; index < to; index++) {
                const int first = index % row_groups * GROUP;
                quantized.set_group(index, x + size_t(index / row_groups) * matrix.inputs + first,
                                    std::min(GROUP, matrix.inputs - first));
            }
        });
        return quantized;
    }

    std::vector<std::vector<float>> panel_buffers_;  // of each thread: one panel of weights as float32
    int max_inputs_ = 0;
    bool has_integer_weights_ = false;
    std::vector<int8_t> quantized_values_;  // buffers of QuantizedRows
    std::vector<float> quantized_scales_;
    std::vector<int32_t> quantized_half_sums_;
};

}  // namespace
}  // namespace turnwise
