// Validation of everything that Python passes to the encoder, as validate.hpp does for the decoder. Each function returns an
// error message, or null.
#pragma once

#include "validate.hpp"

namespace turnwise {

inline const char* validate_encoder(const EncoderWeights& model) {
    if (model.num_layers < 1 || model.num_layers > MAX_LAYERS) return "the number of layers is out of range";
    for (int32_t size : {model.hidden_size, model.num_heads, model.intermediate_size, model.vocab_size, model.num_positions})
        if (!is_size(size)) return "a size of the model is out of range";
    if (model.hidden_size % model.num_heads) return "the hidden size must be a multiple of the number of heads";
    if (model.hidden_size % WIDTH || model.hidden_size / model.num_heads % WIDTH)
        return "hidden size and head size must be multiples of the vector width";
    if (3 * int64_t(model.hidden_size) > MAX_SIZE) return "queries, keys and values together are too large";
    if (!std::isfinite(model.norm_eps)) return "the epsilon of the norms is not finite";
    if (!model.layers || !model.embed || !model.position_embed || !model.embed_norm.weight)
        return "the layers or the embeddings are missing";
    if (model.embed_format != FLOAT32 && model.embed_format != BFLOAT16 && model.embed_format != INT8)
        return "the embeddings have an unknown format";
    if ((model.embed_format == INT8) != (model.embed_scales != nullptr))
        return "8-bit embeddings, and only they, need scales";
    for (int i = 0; i < model.num_layers; i++) {
        const EncoderLayerWeights& layer = model.layers[i];
        if (!layer.attention_norm.weight || !layer.mlp_norm.weight) return "a layer has no norm weights";
        const int64_t C = model.hidden_size, F = model.intermediate_size;
        for (const char* error : {validate_matrix(layer.qkv, C, 3 * C), validate_matrix(layer.out, C, C),
                                  validate_matrix(layer.up, C, F), validate_matrix(layer.down, F, C)})
            if (error) return error;
    }
    return nullptr;
}

inline const char* validate_encoder_batch(const EncoderWeights& model, const EncoderBatch& batch) {
    if (batch.num_sequences < 1 || batch.num_sequences > MAX_ROWS) return "the number of sequences is out of range";
    if (!batch.ids || !batch.starts) return "an array of the batch is missing";
    if (batch.pooling < 0 || batch.pooling >= NUM_POOLINGS) return "the pooling is unknown";
    if (batch.starts[0] != 0) return "the first sequence does not start at 0";
    for (int i = 0; i < batch.num_sequences; i++) {
        const int64_t length = int64_t(batch.starts[i + 1]) - batch.starts[i];
        if (length < 1 || length > model.num_positions) return "the length of a sequence is out of range";
        if (batch.starts[i + 1] > MAX_ROWS) return "the number of rows is out of range";
    }
    for (int row = 0; row < batch.starts[batch.num_sequences]; row++)
        if (batch.ids[row] < 0 || batch.ids[row] >= model.vocab_size) return "a token id is not in the vocabulary";
    return nullptr;
}

}  // namespace turnwise
