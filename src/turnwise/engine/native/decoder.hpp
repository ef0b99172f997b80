// One forward pass of the generic decoder (models/decoder.py) over new tokens of many sequences.
//
// Shapes: R rows (new tokens, of any sequences), C hidden size, H heads, K key/value heads, D head size, F intermediate size,
// V vocabulary. A row knows its sequence and its position; it attends to the tokens of its sequence up to itself.
//
// Constants of other headers: WIDTH (simd.hpp): floats of a vector. PANEL (linear.hpp): outputs of a weight matrix that are
// stored together. ROW_BLOCK (linear.hpp): rows that are processed together. MAX_QUERIES (attention.hpp): queries that share
// one pass over keys and values.
#pragma once

#include <vector>

#include "attention.hpp"
#include "linear_layers.hpp"
#include "lora.hpp"
#include "norms.hpp"
#include "structs.hpp"

namespace turnwise {
namespace {  // internal linkage: builds for different instruction sets are loaded side by side

constexpr int MAX_QUERY_GROUP_ROWS = 4;  // rows of one sequence that share one pass over its keys and values

class Decoder : public LinearLayers {
  public:
    Decoder(const ModelWeights& model, int threads)
        : LinearLayers(threads), m_(model), layers_(model.layers, model.layers + model.num_layers), scratch_(threads) {
        qkv_width_ = num_panels(layers_[0].qkv) * PANEL;
        use_matrix(m_.lm_head);
        for (const LayerWeights& layer : layers_)
            for (const PackedMatrix* matrix : {&layer.qkv, &layer.out, &layer.up, &layer.down})
                use_matrix(*matrix);
    }

    // Writes the logits (output rows, V), or hidden states (output rows, C), to `out`.
    void forward(const Batch& batch, const KVCacheView& cache, float* out) {
        const size_t R = batch.num_rows;
        grow(x_, R * m_.hidden_size);
        grow(normed_, R * m_.hidden_size);
        grow(qkv_, R * qkv_width_);
        grow(attention_, R * m_.num_heads * m_.head_dim);
        grow(intermediate_, R * m_.intermediate_size);
        grow_linear_buffers(R);
        grow(lora_hidden_, R * batch.max_lora_rank);
        sequences_.assign(batch.sequences, batch.sequences + R);
        positions_.assign(batch.positions, batch.positions + R);
        find_query_groups(int(R));
        score_stride_ = (*std::max_element(positions_.begin(), positions_.end()) / BLOCK_SIZE + 1) * BLOCK_SIZE;
        for (auto& scratch : scratch_) {
            grow(scratch.gate, ROW_BLOCK * PANEL);
            grow(scratch.scores, MAX_QUERIES * size_t(score_stride_));
        }
        const Pass pass(pool_);
        run_layers(batch, cache, out);
    }

    // Applies the LM head only: normalised hidden states (R, C) to logits (R, V).
    void logits(const float* hidden, int rows, float* out) {
        grow_linear_buffers(rows);
        const Pass pass(pool_);
        lm_head(hidden, rows, out);
    }

    const ModelWeights& model() const { return m_; }

  private:
    // Buffers of one thread.
    struct Scratch {
        std::vector<float> gate;    // activated gates of a block of rows
        std::vector<float> scores;  // attention weights of up to MAX_QUERIES queries
    };

    // Logits (rows, V). Adapters do not change the LM head.
    void lm_head(const float* hidden, int rows, float* out) {
        linear<false>(hidden, rows, m_.lm_head, out, m_.vocab_size, m_.vocab_size, [](int, int, float*) {});
    }

    // intermediate = act(gate) * up, or act(up) without a gate. Gate and up panels alternate, so one thread computes both and
    // keeps the gate in its scratch memory.
    template <class Update>
    void gate_up_projection(const float* x, int rows, const LayerWeights& layer, Update update) {
        const PackedMatrix& matrix = layer.up;
        multiply(x, rows, matrix, [&](int row, int panel, float* sums, int thread) {
            update(row, panel, sums);
            const float* bias = matrix.bias ? matrix.bias + panel * PANEL : nullptr;
            float* gate = scratch_[thread].gate.data() + row % ROW_BLOCK * PANEL;
            const bool is_gate = m_.is_gated && panel % 2 == 0;
            const int column = (m_.is_gated ? panel / 2 : panel) * PANEL;
            float* target = intermediate_.data() + size_t(row) * m_.intermediate_size + column;
            alignas(64) float values[PANEL];
            for (int i = 0; i < PANEL; i += WIDTH) {
                Vec value = load<Vec>(sums + i);
                if (bias) value += load<Vec>(bias + i);
                if (is_gate || !m_.is_gated) value = m_.is_gelu ? gelu_tanh(value) : silu(value);
                else value *= load<Vec>(gate + i);
                store((is_gate ? gate : values) + i, value);
            }
            if (!is_gate) std::copy(values, values + std::min(PANEL, m_.intermediate_size - column), target);
        });
    }

    // ---- LoRA

    // The adapter matrix of a row for one target, or null.
    const LoraMatrix* lora_of(int row, int layer, LoraTarget target, const Batch& batch) const {
        const LoraMatrix* adapter = batch.adapters[sequences_[row]];
        if (!adapter) return nullptr;
        const LoraMatrix* lora = adapter + layer * NUM_LORA_TARGETS + target;
        return lora->down ? lora : nullptr;
    }

    // lora_hidden = A x for rows with an adapter, before the product with the base matrix of the same target.
    void apply_lora_down(const float* x, int rows, int inputs, int layer, LoraTarget target, const Batch& batch) {
        if (!batch.max_lora_rank) return;
        pool_.run(rows, int64_t(rows) * inputs * batch.max_lora_rank, [&](int from, int to, int) {
            for (int first = from, end; first < to; first = end) {
                // Consecutive rows with the same adapter: each slice of A is read once for all of them.
                const LoraMatrix* adapter = batch.adapters[sequences_[first]];
                for (end = first + 1; end < to && batch.adapters[sequences_[end]] == adapter;) end++;
                const LoraMatrix* lora = lora_of(first, layer, target, batch);
                if (!lora) continue;
                for (int rank = 0; rank < lora->rank; rank += WIDTH)
                    for (int row = first; row < end; row++)
                        store(&lora_hidden_[size_t(row) * batch.max_lora_rank + rank],
                              lora_down(x + size_t(row) * inputs, lora->down + size_t(rank) * inputs, inputs));
            }
        });
    }

    // Adds the adapter's update to the sums of one row and panel.
    void add_lora_output(int row, int panel, int layer, LoraTarget target, const Batch& batch, float* sums) const {
        if (!batch.max_lora_rank) return;
        if (const LoraMatrix* lora = lora_of(row, layer, target, batch))
            add_lora_up(*lora, &lora_hidden_[size_t(row) * batch.max_lora_rank], panel, sums);
    }

    // ---- Attention

    // Offset of this head in the first block of a layer's keys or values.
    size_t head_offset(const KVCacheView& cache, int layer, int kv_head) const {
        return (size_t(layer) * cache.num_blocks * m_.num_kv_heads + kv_head) * m_.head_dim * BLOCK_SIZE;
    }

    size_t block_stride() const { return size_t(m_.num_kv_heads) * m_.head_dim * BLOCK_SIZE; }

    // Normalises (QK-norm) and rotates queries and keys in place, then writes keys and values to the row's position in the
    // cache. Every row has a position of its own, so rows are independent.
    template <class Number>
    void apply_rope_and_write_kv(int row, const LayerWeights& layer, int layer_index, const Batch& batch,
                                 const KVCacheView& cache) {
        const int H = m_.num_heads, K = m_.num_kv_heads, D = m_.head_dim, position = positions_[row];
        float* q = qkv_.data() + size_t(row) * qkv_width_;
        for (int head = 0; head < H + K; head++) {  // H queries, then K keys
            float* x = q + head * D;
            if (layer.query_norm.weight)
                rms_norm(x, D, m_.norm_eps, head < H ? layer.query_norm : layer.key_norm, x);
            if (layer.uses_rope)
                apply_rope(x, D, m_.rope_cos + size_t(position) * D, m_.rope_sin + size_t(position) * D);
        }
        const int32_t block = batch.block_tables[sequences_[row]][position / BLOCK_SIZE];
        for (int head = 0; head < K; head++) {
            const float* key = q + (H + head) * D;
            const size_t offset = head_offset(cache, layer_index, head) + block * block_stride();
            // Keys are transposed within a block: one number per dimension, BLOCK_SIZE apart.
            Number* cached_key = (Number*)cache.keys + offset + position % BLOCK_SIZE;
            for (int d = 0; d < D; d++) store_as(cached_key + d * BLOCK_SIZE, key[d]);
            const float* value = key + K * D;
            Number* cached_value = (Number*)cache.values + offset + size_t(position % BLOCK_SIZE) * D;
            for (int d = 0; d < D; d++) store_as(cached_value + d, value[d]);
        }
    }

    // Splits the rows into groups of consecutive rows of one sequence, at most MAX_QUERY_GROUP_ROWS, fewer if threads would
    // idle. A group shares one pass over the keys and values of its sequence.
    void find_query_groups(int rows) {
        const int max_rows = std::clamp(rows * m_.num_kv_heads / pool_.limit(), 1, MAX_QUERY_GROUP_ROWS);
        query_groups_.clear();
        for (int row = 0; row < rows; row++)
            if (query_groups_.empty() || sequences_[row] != sequences_[query_groups_.back()] ||
                row - query_groups_.back() == max_rows)
                query_groups_.push_back(row);
        query_groups_.push_back(rows);
    }

    // Writes softmax(QKᵀ)V of every row to `attention_`.
    void attend_rows(int rows, const LayerWeights& layer, int layer_index, const Batch& batch, const KVCacheView& cache) {
        const int H = m_.num_heads, K = m_.num_kv_heads, groups = int(query_groups_.size()) - 1;
        // All query heads of a key/value head are computed together, unless that leaves threads without work.
        const int heads_together = groups * K < pool_.limit() ? 1 : H / K, head_groups = H / heads_together;
        int64_t attended = 0;
        for (int row = 0; row < rows; row++)
            attended += layer.window ? std::min(layer.window, positions_[row] + 1) : positions_[row] + 1;
        // 4: rough cost in multiplications of one number of a key and a value, for the choice of chunks.
        pool_.run(groups * head_groups, 4 * attended * H * m_.head_dim, [&](int from, int to, int thread) {
            for (int item = from; item < to; item++) {
                const int group = item / head_groups, first = query_groups_[group], last = query_groups_[group + 1];
                const int head = item % head_groups * heads_together;
                if (cache.is_bf16)
                    attention<uint16_t>(thread, first, last, head, heads_together, layer, layer_index, batch, cache);
                else attention<float>(thread, first, last, head, heads_together, layer, layer_index, batch, cache);
            }
        });
    }

    // Attention of the rows [first, last), all of one sequence, for the `heads` heads from `first_head` on, which share a
    // key/value head.
    template <class Number>
    void attention(int thread, int first, int last, int first_head, int heads, const LayerWeights& layer, int layer_index,
                   const Batch& batch, const KVCacheView& cache) {
        const int H = m_.num_heads, K = m_.num_kv_heads, D = m_.head_dim, end_head = first_head + heads;
        const size_t offset = head_offset(cache, layer_index, first_head / (H / K));
        const int32_t* block_table = batch.block_tables[sequences_[first]];
        const PagedHead<Number> keys{(const Number*)cache.keys + offset, block_stride(), block_table};
        const PagedHead<Number> values{(const Number*)cache.values + offset, block_stride(), block_table};
        Query queries[MAX_QUERIES];
        int count = 0;
        for (int row = first; row < last; row++)
            for (int head = first_head; head < end_head; head++) {
                const int end = positions_[row] + 1, start = layer.window ? std::max(0, end - layer.window) : 0;
                queries[count++] = {qkv_.data() + size_t(row) * qkv_width_ + head * D, start, end,
                                    attention_.data() + (size_t(row) * H + head) * D};
                if (count < MAX_QUERIES && (row < last - 1 || head < end_head - 1)) continue;
                attend(queries, count, D, keys, values, scratch_[thread].scores.data(), score_stride_);
                count = 0;
            }
    }

    // ---- The pass

    void normalise(const float* x, NormWeights norm, float* out) const {
        (m_.is_layer_norm ? layer_norm : rms_norm)(x, m_.hidden_size, m_.norm_eps, norm, out);
    }

    void embed(int32_t id, int32_t position, float* out) const {
        const int C = m_.hidden_size;
        dequantize_output(m_.embed, id, out);
        if (m_.position_embed)
            for (int i = 0; i < C; i++) out[i] += m_.position_embed[size_t(position) * C + i];
    }

    // Moves the output rows to the front, in the same order.
    void gather_output_rows(const Batch& batch) {
        for (int i = 0; i < batch.num_output_rows; i++) {
            const size_t row = batch.output_rows[i];
            if (row == size_t(i)) continue;
            std::copy(&x_[row * m_.hidden_size], &x_[row * m_.hidden_size] + m_.hidden_size,
                      &x_[size_t(i) * m_.hidden_size]);
            std::copy(&qkv_[row * qkv_width_], &qkv_[row * qkv_width_] + m_.num_heads * m_.head_dim,
                      &qkv_[size_t(i) * qkv_width_]);  // queries only: keys and values are in the cache
            sequences_[i] = sequences_[row];
            positions_[i] = positions_[row];
        }
    }

    void run_layers(const Batch& batch, const KVCacheView& cache, float* out) {
        const int C = m_.hidden_size, F = m_.intermediate_size, H = m_.num_heads, K = m_.num_kv_heads, D = m_.head_dim;
        int R = batch.num_rows;
        float *x = x_.data(), *normed = normed_.data(), *intermediate = intermediate_.data();
        // Runs work(row) for all rows. `cost`: rough cost of a row in multiplications, for the choice of chunks.
        const auto for_rows = [&](int64_t cost, auto work) {
            pool_.run(R, R * cost, [&](int first, int last, int) {
                for (int row = first; row < last; row++) work(row);
            });
        };
        const auto normalise_rows = [&](NormWeights norm) {
            for_rows(3 * C, [&](int row) { normalise(x + size_t(row) * C, norm, normed + size_t(row) * C); });
        };

        for_rows(6 * C, [&](int row) {
            embed(batch.ids[row], positions_[row], x + size_t(row) * C);
            normalise(x + size_t(row) * C, layers_[0].attention_norm, normed + size_t(row) * C);
        });
        for (int layer_index = 0; layer_index < m_.num_layers; layer_index++) {
            const LayerWeights& layer = layers_[layer_index];
            const auto lora_update = [&](LoraTarget target) {
                return [this, layer_index, target, &batch](int row, int panel, float* sums) {
                    add_lora_output(row, panel, layer_index, target, batch, sums);
                };
            };
            apply_lora_down(normed, R, C, layer_index, QKV, batch);
            linear<false>(normed, R, layer.qkv, qkv_.data(), qkv_width_, layer.qkv.outputs, lora_update(QKV));
            for_rows(8 * (H + 2 * K) * D, [&](int row) {
                if (cache.is_bf16) apply_rope_and_write_kv<uint16_t>(row, layer, layer_index, batch, cache);
                else apply_rope_and_write_kv<float>(row, layer, layer_index, batch, cache);
            });
            if (layer_index == m_.num_layers - 1 && batch.num_output_rows < R) {
                // After the last layer's keys and values are written, only output rows are still needed.
                gather_output_rows(batch);
                R = batch.num_output_rows;
                find_query_groups(R);
            }
            attend_rows(R, layer, layer_index, batch, cache);
            apply_lora_down(attention_.data(), R, H * D, layer_index, OUT, batch);
            linear<true>(attention_.data(), R, layer.out, x, C, C, lora_update(OUT));
            normalise_rows(layer.mlp_norm);
            apply_lora_down(normed, R, C, layer_index, UP, batch);
            gate_up_projection(normed, R, layer, lora_update(UP));
            apply_lora_down(intermediate, R, F, layer_index, DOWN, batch);
            linear<true>(intermediate, R, layer.down, x, C, C, lora_update(DOWN));
            normalise_rows(layer_index + 1 < m_.num_layers ? layers_[layer_index + 1].attention_norm : m_.final_norm);
        }
        if (batch.return_hidden) std::copy(normed, normed + size_t(R) * C, out);
        else lm_head(normed, R, out);
    }

    const ModelWeights m_;
    const std::vector<LayerWeights> layers_;
    std::vector<Scratch> scratch_;  // one per thread
    int qkv_width_, score_stride_ = 0;
    // Activations: the residual stream (R, C), its normalised copy (R, C), queries, keys and values (R, qkv_width),
    // outputs of attention (R, H D), of the gate and up projection (R, F), and of lora_A (R, max_lora_rank).
    std::vector<float> x_, normed_, qkv_, attention_, intermediate_, lora_hidden_;
    std::vector<int32_t> sequences_, positions_;  // of the remaining rows
    std::vector<int> query_groups_;               // first row of each group, and the end of the last
};

}  // namespace
}  // namespace turnwise
