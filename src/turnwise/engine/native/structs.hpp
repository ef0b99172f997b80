// Structures that Python passes to the library; structs.py mirrors them field by field.
//
// Shapes: C hidden size, H heads, K key/value heads, D head size, V vocabulary, P positions.
#pragma once

#include <cstdint>

extern "C" {

// How the weights of a segment are stored. Integers q are unsigned. `s` and `m` are the scale and the minimum of a group of 32
// inputs, `S` and `M` factors of the scales and minimums of 256 inputs (a super-block); S and M are float16. The formats of
// ggml in the last column are computed as they are in a file.
enum WeightFormat : int32_t {
    FLOAT32,
    BFLOAT16,
    INT8,                   // (q - 128) s, one float32 s per output
    INT8_GROUP,             // (q - 128) s, float16 s                               Q8_0, Q5_0
    INT8_GROUP_MIN,         // q s + m, float16 s and m                             Q5_1
    INT8_SUPER_BLOCK,       // q s S - m M, 8-bit s and m                           Q5_K
    INT8_HALF_SUPER_BLOCK,  // (q - 128) s S, signed 8-bit s of 16 inputs           Q6_K
    INT4_GROUP,             // (q - 8) s, float16 s                                 Q4_0
    INT4_GROUP_MIN,         // q s + m, float16 s and m                             Q4_1
    INT4_SUPER_BLOCK,       // q s S - m M, 8-bit s and m                           Q4_K
    NUM_WEIGHT_FORMATS
};

// Consecutive panels of outputs in one format (linear.hpp, quantized_linear.hpp). G groups of inputs.
struct MatrixSegment {
    const void* weights;
    const void* scales;        // (panels, G, PANEL), or (panels, 2 G, PANEL) for groups of 16; INT8: (panels, PANEL)
    const void* minimums;      // (panels, G, PANEL), or null
    const void* super_scales;  // (panels, G / 8, PANEL), or null
    const void* super_minimums;
    int32_t format, num_panels;
};

// A weight matrix in panels of outputs.
struct PackedMatrix {
    const MatrixSegment* segments;
    const float* bias;  // padded to a multiple of PANEL, or null
    int32_t num_segments, inputs, outputs;
};

struct NormWeights {
    const float* weight;
    const float* bias;  // null for RMSNorm and for a LayerNorm without bias
};

struct LayerWeights {
    NormWeights attention_norm, query_norm, key_norm, mlp_norm;  // query_norm.weight is null without QK-norm
    PackedMatrix qkv, out, up, down;  // with a gated MLP, `up` holds gate and up panels alternately
    int32_t uses_rope;
    int32_t window;  // tokens that a row attends to, itself included; 0: all
};

struct ModelWeights {
    int32_t num_layers, hidden_size, num_heads, num_kv_heads, head_dim, intermediate_size, vocab_size;
    int32_t num_positions;  // rows of the position tables
    int32_t is_layer_norm, is_gated, is_gelu;
    float norm_eps;
    const LayerWeights* layers;
    const float* position_embed;  // (P, C), or null
    const float* rope_cos;        // (P, D), or null
    const float* rope_sin;
    NormWeights final_norm;
    PackedMatrix embed, lm_head;  // (V, C); the same memory if they are tied and stored alike
};

// Keys of one layer are (num_blocks, K, D, BLOCK_SIZE), values (num_blocks, K, BLOCK_SIZE, D); layers follow each other.
struct KVCacheView {
    void* keys;
    void* values;
    int32_t num_blocks, is_bf16;  // bfloat16, or float32
};

// A LoRA update of one matrix: y = s (W x + B (A x)), where A (down) is lora_A and B (up) is lora_B with its scaling.
struct LoraMatrix {
    const float* down;             // (rank / WIDTH, inputs, WIDTH); null if the matrix is not adapted
    const float* up;               // panels of outputs, each (rank, PANEL)
    const float* dora_scale;       // s, padded to a multiple of PANEL; null without DoRA
    const int32_t* nonzero_ranks;  // (panels, 2): first nonzero rank of a panel of B, end of the last
    int32_t rank;                  // padded to a multiple of WIDTH
};

// The matrices of a layer that an adapter can change, in the order of LORA_TARGETS in packed_adapter.py.
enum LoraTarget { QKV, OUT, UP, DOWN, NUM_LORA_TARGETS };

// New tokens of one forward pass, one row each, of any number of sequences. `output_rows`, ascending, are the rows whose
// logits are computed or, with `return_hidden`, whose last normalised hidden states (C) are returned.
struct Batch {
    const int32_t* ids;
    const int32_t* sequences;  // index of each row's sequence
    const int32_t* positions;
    const int32_t* output_rows;
    const int32_t* const* block_tables;   // of each sequence: its blocks in the cache, in order
    const int32_t* block_table_lengths;   // of each sequence
    const LoraMatrix* const* adapters;    // of each sequence: (num_layers, NUM_LORA_TARGETS), or null
    int32_t num_rows, num_output_rows, return_hidden, num_sequences;
    int32_t max_lora_rank;  // largest rank of the adapters; 0 if there are none
};

struct EncoderLayerWeights {
    PackedMatrix qkv, out, up, down;
    NormWeights attention_norm, mlp_norm;  // LayerNorm after the residual connection
};

struct EncoderWeights {
    int32_t num_layers, hidden_size, num_heads, intermediate_size, vocab_size;
    int32_t num_positions;  // rows of `position_embed`
    int32_t is_gelu_tanh;   // GELU by its tanh formula, or by erf
    int32_t embed_format;   // FLOAT32, BFLOAT16, or INT8: signed, with one scale per token
    float norm_eps;
    const EncoderLayerWeights* layers;
    const void* embed;            // (V, C), token by token
    const float* embed_scales;    // (V), or null
    const float* position_embed;  // (P, C), with the embedding of the token type added
    NormWeights embed_norm;
};

enum Pooling : int32_t { NO_POOLING, MEAN_POOLING, CLS_POOLING, NUM_POOLINGS };

// Sequences of one forward pass of the encoder. Sequence i has the rows starts[i] to starts[i + 1], its positions count from 0.
struct EncoderBatch {
    const int32_t* ids;     // of all rows
    const int32_t* starts;  // one more than there are sequences; the last is the number of rows
    int32_t num_sequences;
    int32_t pooling;        // enum Pooling
    int32_t normalize;      // scale pooled vectors to Euclidean length 1
};

}  // extern "C"
