// Checks what Python hands over before anything is computed: sizes, pointers, ids, positions and blocks. Every access of
// decoder.cpp stays inside the memory that passed these checks; what pointers point to is as large as the sizes say.
// Each check returns what is wrong, or null.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention.hpp"
#include "linear.hpp"
#include "structs.hpp"

namespace turnwise {

constexpr int32_t MOST_SIZE = 1 << 24, MOST_LAYERS = 1 << 16;

inline bool is_size(int32_t value) { return 0 < value && value <= MOST_SIZE; }

inline const char* check_matrix(const Matrix& matrix, int64_t inputs, int64_t outputs) {
    if (!matrix.weights) return "a matrix has no weights";
    if (matrix.bits != 32 && matrix.bits != 16 && matrix.bits != 8 && matrix.bits != 4) return "a matrix has an unknown number of bits";
    if (matrix.bits <= 8 && !matrix.scales) return "a quantized matrix has no scales";
    if (matrix.inputs != inputs || !is_size(matrix.inputs)) return "a matrix has another number of inputs than the model";
    if (matrix.outputs < outputs || matrix.outputs % PANEL || !is_size(matrix.outputs)) return "a matrix has too few outputs for the model";
    return nullptr;
}

inline const char* check_model(const Model& model) {
    if (model.layers < 1 || model.layers > MOST_LAYERS) return "the number of layers is out of range";
    for (int32_t size : {model.hidden, model.heads, model.kv_heads, model.head_dim, model.feed_forward, model.vocabulary})
        if (!is_size(size)) return "a size of the model is out of range";
    if (model.hidden % WIDTH || model.head_dim % WIDTH) return "the hidden size and the head size must be whole vectors";
    if (model.head_dim % 2 || model.heads % model.kv_heads) return "the numbers of heads do not fit together";
    const int64_t queries = int64_t(model.heads) * model.head_dim;
    const int64_t keys = int64_t(model.kv_heads) * model.head_dim;
    if (queries + 2 * keys > MOST_SIZE) return "the heads are too large together";
    if (!std::isfinite(model.norm_eps)) return "the epsilon of the norms is not finite";
    if (model.context < 1) return "the context is empty";
    if (!model.layer || !model.embed || !model.norm.weight) return "a part of the model is missing";
    const int64_t wide = (int64_t(model.feed_forward) + PANEL - 1) / PANEL * PANEL;
    for (int number = 0; number < model.layers; number++) {
        const Layer& layer = model.layer[number];
        if (!layer.attention_norm.weight || !layer.mlp_norm.weight) return "a norm of a layer is missing";
        if (!layer.query_norm.weight != !layer.key_norm.weight) return "only one of two head norms is there";
        if (layer.rotated && (!model.cosines || !model.sines)) return "the tables of rotary positions are missing";
        if (layer.window < 0) return "the attention window is negative";
        if (model.gated && layer.up.outputs % (2 * PANEL)) return "a gate has not as many outputs as what it gates";
        if (const char* wrong = check_matrix(layer.qkv, model.hidden, queries + 2 * keys)) return wrong;
        if (const char* wrong = check_matrix(layer.out, queries, model.hidden)) return wrong;
        if (const char* wrong = check_matrix(layer.up, model.hidden, model.gated ? 2 * wide : wide)) return wrong;
        if (const char* wrong = check_matrix(layer.down, model.feed_forward, model.hidden)) return wrong;
    }
    return check_matrix(model.head, model.hidden, model.vocabulary);
}

inline const char* check_adapter(const Model& model, const Thin* adapter, int32_t most_ranks) {
    if (!adapter) return nullptr;
    for (int i = 0; i < model.layers * PLACES; i++) {
        const Thin& change = adapter[i];
        if (!change.down) continue;
        if (!change.up || !change.ranges) return "a matrix of an adapter is missing";
        if (change.ranks < 0 || change.ranks > most_ranks || change.ranks % WIDTH) return "an adapter's rank is out of range";
    }
    return nullptr;
}

inline const char* check_batch(const Model& model, const Batch& batch, const Cache& cache) {
    if (batch.rows < 1 || batch.rows > MOST_SIZE) return "the number of rows is out of range";
    if (batch.line_count < 1 || batch.line_count > batch.rows) return "the number of sequences is out of range";
    if (batch.wanted_rows < 0 || batch.wanted_rows > batch.rows) return "more rows are wanted than there are";
    if (batch.ranks < 0 || batch.ranks > MOST_SIZE || batch.ranks % WIDTH) return "the ranks of the adapters are out of range";
    if (!batch.ids || !batch.lines || !batch.positions || !batch.wanted || !batch.tables || !batch.table_lengths ||
        !batch.adapters || !cache.keys || !cache.values || cache.blocks < 1)
        return "a part of the batch or of the cache is missing";
    for (int line = 0; line < batch.line_count; line++) {
        if (batch.table_lengths[line] < 0 || (batch.table_lengths[line] && !batch.tables[line])) return "a block table is missing";
        for (int i = 0; i < batch.table_lengths[line]; i++)
            if (batch.tables[line][i] < 0 || batch.tables[line][i] >= cache.blocks) return "a block is not in the cache";
        if (const char* wrong = check_adapter(model, batch.adapters[line], batch.ranks)) return wrong;
    }
    for (int row = 0; row < batch.rows; row++) {
        if (batch.ids[row] < 0 || batch.ids[row] >= model.vocabulary) return "a token id is not in the vocabulary";
        const int32_t line = batch.lines[row], position = batch.positions[row];
        if (line < 0 || line >= batch.line_count) return "a row belongs to no sequence";
        if (position < 0 || position >= model.context) return "a position is beyond the context";
        if (position / TILE >= batch.table_lengths[line]) return "a position is beyond its sequence's blocks";
    }
    for (int i = 0; i < batch.wanted_rows; i++)
        if (batch.wanted[i] < (i ? batch.wanted[i - 1] + 1 : 0) || batch.wanted[i] >= batch.rows)
            return "the wanted rows are not in order";
    return nullptr;
}

}  // namespace turnwise
