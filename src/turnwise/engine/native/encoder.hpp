// Forward pass of a bidirectional encoder (models/encoder.py; Devlin et al. 2019) over sequences that are packed without
// padding.
//
// Shapes: N sequences, R rows (tokens of all sequences, one sequence after the other), C hidden size, H heads, D head size,
// F intermediate size. A row attends to all rows of its sequence. Every row is computed with one order of additions, whatever
// the batch, so a sequence has the same result to the last bit alone and in any batch.
#pragma once

#include <vector>

#include "attention.hpp"
#include "linear_layers.hpp"
#include "norms.hpp"
#include "structs.hpp"

namespace turnwise {
namespace {  // internal linkage: builds for different instruction sets are loaded side by side

class Encoder : public LinearLayers {
  public:
    Encoder(const EncoderWeights& model, int threads)
        : LinearLayers(threads), m_(model), layers_(model.layers, model.layers + model.num_layers), scratch_(threads) {
        for (const EncoderLayerWeights& layer : layers_)
            for (const PackedMatrix* matrix : {&layer.qkv, &layer.out, &layer.up, &layer.down}) use_matrix(*matrix);
    }

    // Writes the last hidden states (R, C), or one pooled vector of each sequence (N, C), to `out`.
    void forward(const EncoderBatch& batch, float* out) {
        const int R = batch.starts[batch.num_sequences], C = m_.hidden_size;
        grow_buffers(batch);
        float* x = x_.data();
        const Pass pass(pool_);
        for_sequences(batch, 8 * C, [&](int first, int end) {
            for (int row = first; row < end; row++) embed(batch.ids[row], row - first, x + size_t(row) * C);
        });
        for (const EncoderLayerWeights& layer : layers_) {
            linear<false>(x, R, layer.qkv, qkv_.data(), qkv_width(), qkv_width(), [](int, int, float*) {});
            attend_sequences(batch);
            linear<true>(attention_.data(), R, layer.out, x, C, C, [](int, int, float*) {});
            normalise_rows(R, layer.attention_norm);
            up_projection(R, layer.up);
            linear<true>(intermediate_.data(), R, layer.down, x, C, C, [](int, int, float*) {});
            normalise_rows(R, layer.mlp_norm);
        }
        if (batch.pooling == NO_POOLING) std::copy(x, x + size_t(R) * C, out);
        else pool_sequences(batch, out);
    }

    const EncoderWeights& model() const { return m_; }

  private:
    // Keys and values of one head, and attention weights of up to MAX_QUERIES queries; of one thread.
    struct Scratch {
        std::vector<float> keys, values, scores;
    };

    int qkv_width() const { return 3 * m_.hidden_size; }
    int head_dim() const { return m_.hidden_size / m_.num_heads; }

    void grow_buffers(const EncoderBatch& batch) {
        const size_t R = batch.starts[batch.num_sequences];
        grow(x_, R * m_.hidden_size);
        grow(qkv_, R * qkv_width());
        grow(attention_, R * m_.hidden_size);
        grow(intermediate_, R * m_.intermediate_size);
        grow_linear_buffers(R);
        int longest = 0;
        for (int i = 0; i < batch.num_sequences; i++)
            longest = std::max(longest, batch.starts[i + 1] - batch.starts[i]);
        const int blocks = (longest + BLOCK_SIZE - 1) / BLOCK_SIZE;
        score_stride_ = blocks * BLOCK_SIZE;
        while (int(block_table_.size()) < blocks) block_table_.push_back(int32_t(block_table_.size()));
        for (auto& scratch : scratch_) {
            grow(scratch.keys, size_t(score_stride_) * head_dim());
            grow(scratch.values, size_t(score_stride_) * head_dim());
            grow(scratch.scores, MAX_QUERIES * size_t(score_stride_));
        }
    }

    // Calls work(first row, end row) for all sequences. `cost`: rough cost of a row in multiplications.
    template <class Work>
    void for_sequences(const EncoderBatch& batch, int64_t cost, Work work) {
        pool_.run(batch.num_sequences, batch.starts[batch.num_sequences] * cost, [&](int from, int to, int) {
            for (int i = from; i < to; i++) work(batch.starts[i], batch.starts[i + 1]);
        });
    }

    // Sum of the embeddings of the token and of its position, normalised. The embedding of the token type is in that of the
    // position.
    void embed(int32_t id, int position, float* out) const {
        const int C = m_.hidden_size;
        const float* positions = m_.position_embed + size_t(position) * C;
        const size_t offset = size_t(id) * C;
        const float scale = m_.embed_scales ? m_.embed_scales[id] : 1.0f;
        for (int i = 0; i < C; i += WIDTH) {
            const Vec word = m_.embed_format == FLOAT32    ? load_as_float((const float*)m_.embed + offset + i)
                             : m_.embed_format == BFLOAT16 ? load_as_float((const uint16_t*)m_.embed + offset + i)
                                                           : load_as_float((const int8_t*)m_.embed + offset + i) * scale;
            store(out + i, word + load<Vec>(positions + i));
        }
        layer_norm(out, C, m_.norm_eps, m_.embed_norm, out);
    }

    void normalise_rows(int rows, NormWeights norm) {
        const int C = m_.hidden_size;
        pool_.run(rows, int64_t(rows) * 3 * C, [&](int first, int last, int) {
            for (int row = first; row < last; row++) {
                float* x = x_.data() + size_t(row) * C;
                layer_norm(x, C, m_.norm_eps, norm, x);
            }
        });
    }

    // Writes softmax(QKᵀ)V of every row to `attention_`, a head of a sequence at a time.
    void attend_sequences(const EncoderBatch& batch) {
        const int H = m_.num_heads;
        int64_t scores = 0;
        for (int i = 0; i < batch.num_sequences; i++) {
            const int64_t length = batch.starts[i + 1] - batch.starts[i];
            scores += length * (length + 8);  // 8: copying the keys and values of a token
        }
        pool_.run(batch.num_sequences * H, 2 * scores * m_.hidden_size, [&](int from, int to, int thread) {
            for (int item = from; item < to; item++)
                attend_head(batch.starts[item / H], batch.starts[item / H + 1], item % H, scratch_[thread]);
        });
    }

    void attend_head(int first, int end, int head, Scratch& scratch) {
        const int C = m_.hidden_size, D = head_dim(), length = end - first;
        for (int i = 0; i < length; i++) {
            const float* key = qkv_.data() + size_t(first + i) * qkv_width() + C + head * D;
            // Keys are transposed within a block, as `attend` reads them. Old numbers after the end get the weight 0.
            float* target = scratch.keys.data() + size_t(i / BLOCK_SIZE) * BLOCK_SIZE * D + i % BLOCK_SIZE;
            for (int d = 0; d < D; d++) target[d * BLOCK_SIZE] = key[d];
            std::copy(key + C, key + C + D, scratch.values.data() + size_t(i) * D);
        }
        const size_t block_stride = size_t(BLOCK_SIZE) * D;
        const PagedHead<float> keys{scratch.keys.data(), block_stride, block_table_.data()};
        const PagedHead<float> values{scratch.values.data(), block_stride, block_table_.data()};
        for (int row = first; row < end; row += MAX_QUERIES) {
            Query queries[MAX_QUERIES];
            const int count = std::min(MAX_QUERIES, end - row);
            for (int i = 0; i < count; i++)
                queries[i] = {qkv_.data() + size_t(row + i) * qkv_width() + head * D, 0, length,
                              attention_.data() + size_t(row + i) * C + head * D};
            attend(queries, count, D, keys, values, scratch.scores.data(), score_stride_);
        }
    }

    // intermediate = gelu(x W + b)
    void up_projection(int rows, const PackedMatrix& matrix) {
        const int F = m_.intermediate_size;
        multiply(x_.data(), rows, matrix, [&](int row, int panel, float* sums, int) {
            alignas(64) float values[PANEL];
            for (int i = 0; i < PANEL; i += WIDTH) {
                Vec value = load<Vec>(sums + i);
                if (matrix.bias) value += load<Vec>(matrix.bias + panel * PANEL + i);
                store(values + i, m_.is_gelu_tanh ? gelu_tanh(value) : gelu_erf(value));
            }
            std::copy(values, values + std::min(PANEL, F - panel * PANEL),
                      intermediate_.data() + size_t(row) * F + panel * PANEL);
        });
    }

    // The mean of a sequence's hidden states, or the first one.
    void pool_sequences(const EncoderBatch& batch, float* out) {
        const int C = m_.hidden_size;
        pool_.run(batch.num_sequences, int64_t(batch.starts[batch.num_sequences]) * C, [&](int from, int to, int) {
            for (int sequence = from; sequence < to; sequence++) {
                const int first = batch.starts[sequence], end = batch.starts[sequence + 1];
                const int last = batch.pooling == MEAN_POOLING ? end : first + 1;
                float* pooled = out + size_t(sequence) * C;
                for (int i = 0; i < C; i += WIDTH) {
                    Vec total = {};
                    for (int row = first; row < last; row++) total += load<Vec>(&x_[size_t(row) * C + i]);
                    store(pooled + i, total / float(last - first));
                }
                if (!batch.normalize) continue;
                const float length = std::sqrt(horizontal_sum(squared_sum(pooled, C)));
                for (int i = 0; i < C; i += WIDTH) store(pooled + i, load<Vec>(pooled + i) / std::max(length, 1e-12f));
            }
        });
    }

    const EncoderWeights m_;
    const std::vector<EncoderLayerWeights> layers_;
    std::vector<Scratch> scratch_;  // one per thread
    int score_stride_ = 0;
    // Activations: hidden states (R, C), queries, keys and values (R, 3 C), outputs of attention (R, C) and of the
    // up-projection (R, F).
    std::vector<float> x_, qkv_, attention_, intermediate_;
    std::vector<int32_t> block_table_;  // 0, 1, 2, …: a thread's scratch memory holds the blocks in order
};

}  // namespace
}  // namespace turnwise
