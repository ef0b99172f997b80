// Validation of everything that Python passes in, before anything is computed: sizes, pointers, ids, positions, block tables.
// After it, every access of decoder.hpp stays in bounds, provided that pointers point to as much memory as the sizes say.
// Each function returns an error message, or null.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention.hpp"
#include "linear.hpp"
#include "structs.hpp"
#include "weight_formats.hpp"

namespace turnwise {

// Bounds that keep the product of rows, inputs and outputs within 64 bits, and the number of tiles within 32 bits.
constexpr int32_t MAX_SIZE = 1 << 20, MAX_ROWS = 1 << 16, MAX_LAYERS = 1 << 16;
static_assert(int64_t(MAX_ROWS / ROW_BLOCK + 1) * (MAX_SIZE / PANEL + SINGLE_ROW_PANELS) < INT32_MAX, "too many tiles");

inline bool is_size(int32_t value) { return 0 < value && value <= MAX_SIZE; }

inline const char* validate_segment(const MatrixSegment& segment, int64_t inputs) {
    const int32_t format = segment.format;
    if (format < 0 || format >= NUM_WEIGHT_FORMATS) return "a matrix has an unknown format";
    if (!segment.weights) return "a matrix has no weights";
    if (segment.num_panels < 1 || !is_size(segment.num_panels)) return "a part of a matrix has no outputs";
    if (is_integer(format) && !segment.scales) return "a quantized matrix has no scales";
    if (has_minimums(format) && !segment.minimums) return "a quantized matrix has no minimums";
    if (!has_super_scales(format)) return nullptr;
    if (!segment.super_scales || (has_minimums(format) && !segment.super_minimums))
        return "a quantized matrix has no super scales";
    return inputs % (GROUP * GROUPS_PER_SUPER_BLOCK) ? "the inputs of a matrix are no multiple of its super-blocks" : nullptr;
}

// The outputs must be exactly as many as the model has, padded to full panels: callers write as many columns.
inline const char* validate_matrix(const PackedMatrix& matrix, int64_t inputs, int64_t outputs) {
    const int64_t padded_outputs = (outputs + PANEL - 1) / PANEL * PANEL;
    if (matrix.inputs != inputs || !is_size(matrix.inputs)) return "the inputs of a matrix do not match the model";
    if (matrix.outputs != padded_outputs || !is_size(matrix.outputs))
        return "the outputs of a matrix do not match the model";
    if (!matrix.segments || matrix.num_segments < 1 || !is_size(matrix.num_segments)) return "a matrix has no weights";
    int64_t panels = 0;
    for (int i = 0; i < matrix.num_segments; i++) {
        if (const char* error = validate_segment(matrix.segments[i], inputs)) return error;
        panels += matrix.segments[i].num_panels;
    }
    return panels * PANEL == matrix.outputs ? nullptr : "the outputs of a matrix do not match its parts";
}

inline const char* validate_layer(const ModelWeights& model, const LayerWeights& layer) {
    const int64_t queries = int64_t(model.num_heads) * model.head_dim;
    const int64_t keys = int64_t(model.num_kv_heads) * model.head_dim;
    const int64_t padded_up = (int64_t(model.intermediate_size) + PANEL - 1) / PANEL * PANEL;
    if (!layer.attention_norm.weight || !layer.mlp_norm.weight) return "a layer has no norm weights";
    if (!layer.query_norm.weight != !layer.key_norm.weight) return "only one of query norm and key norm is set";
    if (layer.uses_rope && (!model.rope_cos || !model.rope_sin)) return "the rotary position tables are missing";
    if (layer.window < 0) return "the attention window is negative";
    if (model.is_gated && layer.up.num_segments != 1)
        return "gate and up projection differ in size or format";
    if (const char* error = validate_matrix(layer.qkv, model.hidden_size, queries + 2 * keys)) return error;
    if (const char* error = validate_matrix(layer.out, queries, model.hidden_size)) return error;
    if (const char* error = validate_matrix(layer.up, model.hidden_size, model.is_gated ? 2 * padded_up : padded_up))
        return error;
    return validate_matrix(layer.down, model.intermediate_size, model.hidden_size);
}

inline const char* validate_model(const ModelWeights& model) {
    if (model.num_layers < 1 || model.num_layers > MAX_LAYERS) return "the number of layers is out of range";
    for (int32_t size : {model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim, model.intermediate_size,
                         model.vocab_size})
        if (!is_size(size)) return "a size of the model is out of range";
    if (model.hidden_size % WIDTH || model.head_dim % WIDTH)
        return "hidden size and head size must be multiples of the vector width";
    if (model.head_dim % 2 || model.num_heads % model.num_kv_heads)
        return "the head size must be even and the number of heads a multiple of the key/value heads";
    if ((int64_t(model.num_heads) + 2 * int64_t(model.num_kv_heads)) * model.head_dim > MAX_SIZE)
        return "queries, keys and values together are too large";
    if (!std::isfinite(model.norm_eps)) return "the epsilon of the norms is not finite";
    if (model.num_positions < 1) return "the context is empty";
    if (!model.layers || !model.final_norm.weight) return "the layers or the final norm are missing";
    for (int number = 0; number < model.num_layers; number++)
        if (const char* error = validate_layer(model, model.layers[number])) return error;
    if (const char* error = validate_matrix(model.embed, model.hidden_size, model.vocab_size)) return error;
    return validate_matrix(model.lm_head, model.hidden_size, model.vocab_size);
}

inline const char* validate_adapter(const ModelWeights& model, const LoraMatrix* adapter, int32_t max_rank) {
    if (!adapter) return nullptr;
    for (int i = 0; i < model.num_layers * NUM_LORA_TARGETS; i++) {
        const LoraMatrix& lora = adapter[i];
        if (!lora.down) continue;
        if (!lora.up || !lora.nonzero_ranks) return "an adapter has no up-projection";
        if (lora.rank < 0 || lora.rank > max_rank || lora.rank % WIDTH) return "the rank of an adapter is out of range";
    }
    return nullptr;
}

inline const char* validate_batch(const ModelWeights& model, const Batch& batch, const KVCacheView& cache) {
    if (batch.num_rows < 1 || batch.num_rows > MAX_ROWS) return "the number of rows is out of range";
    if (batch.num_sequences < 1 || batch.num_sequences > batch.num_rows) return "the number of sequences is out of range";
    if (batch.num_output_rows < 0 || batch.num_output_rows > batch.num_rows)
        return "the number of output rows is out of range";
    if (batch.max_lora_rank < 0 || batch.max_lora_rank > MAX_SIZE || batch.max_lora_rank % WIDTH)
        return "the largest rank of the adapters is out of range";
    if (!batch.ids || !batch.sequences || !batch.positions || !batch.output_rows || !batch.block_tables ||
        !batch.block_table_lengths || !batch.adapters || !cache.keys || !cache.values || cache.num_blocks < 1)
        return "an array of the batch or of the cache is missing";
    for (int sequence = 0; sequence < batch.num_sequences; sequence++) {
        const int32_t length = batch.block_table_lengths[sequence];
        const int32_t* block_table = batch.block_tables[sequence];
        if (length < 0 || (length && !block_table)) return "a block table is missing";
        for (int i = 0; i < length; i++)
            if (block_table[i] < 0 || block_table[i] >= cache.num_blocks) return "a block is not in the cache";
        if (const char* error = validate_adapter(model, batch.adapters[sequence], batch.max_lora_rank)) return error;
    }
    for (int row = 0; row < batch.num_rows; row++) {
        if (batch.ids[row] < 0 || batch.ids[row] >= model.vocab_size) return "a token id is not in the vocabulary";
        const int32_t sequence = batch.sequences[row], position = batch.positions[row];
        if (sequence < 0 || sequence >= batch.num_sequences) return "a row belongs to no sequence";
        if (position < 0 || position >= model.num_positions) return "a position is beyond the context";
        if (position / BLOCK_SIZE >= batch.block_table_lengths[sequence])
            return "a position is beyond its sequence's blocks";
    }
    for (int i = 0; i < batch.num_output_rows; i++)
        if (batch.output_rows[i] < (i ? batch.output_rows[i - 1] + 1 : 0) || batch.output_rows[i] >= batch.num_rows)
            return "the output rows are not in ascending order";
    return nullptr;
}

}  // namespace turnwise
