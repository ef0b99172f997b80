// What Python hands over; library.py mirrors these structures.
#pragma once

#include <cstdint>

extern "C" {

// A matrix in panels. Of 32 bits: float32; 16: bfloat16 (linear.hpp); 8 or 4: whole numbers with scales (integer.hpp).
struct Matrix {
    const void* weights;
    const void* scales;  // null for floats
    const float* bias;   // padded to whole panels, or null
    int32_t inputs, outputs, bits;
};

struct Norm {
    const float* weight;
    const float* bias;  // null unless it is a LayerNorm with one
};

struct Layer {
    Norm attention_norm, query_norm, key_norm, mlp_norm;  // query_norm.weight is null where heads are not normalised
    Matrix qkv, out, up, down;
    int32_t rotated;
    int32_t window;  // tokens a row sees, itself included; 0 for all
};

struct Model {
    int32_t layers, hidden, heads, kv_heads, head_dim, feed_forward, vocabulary;
    int32_t context;  // rows of the tables of positions
    int32_t layer_norm, gated, gelu, half_embed;
    float norm_eps;
    const Layer* layer;
    const void* embed;      // (V, C), float32 or, with `half_embed`, bfloat16
    const float* position;  // (P, C), or null
    const float* cosines;   // (P, D), or null
    const float* sines;
    Norm norm;
    Matrix head;
};

// One layer's keys are (blocks, K, D, TILE), its values (blocks, K, TILE, D); layers follow each other.
// Numbers are float32, or bfloat16 where `half` is set.
struct Cache {
    void* keys;
    void* values;
    int32_t blocks, half;
};

// What an adapter changes of a matrix: y = f (W x + U (D x)), where U, with its scale, is up to `ranks` wide.
struct Thin {
    const float* down;      // D, (ranks / WIDTH, inputs, WIDTH); null where nothing is changed
    const float* up;        // U in panels of outputs, each (ranks, PANEL)
    const float* factor;    // f, padded to whole panels, or null (DoRA)
    const int32_t* ranges;  // of each panel of U: its first rank that is not zero, and the end of the last
    int32_t ranks;          // padded to whole vectors
};

// The matrices of a layer that adapters change.
enum Place { QKV, OUT, UP, DOWN, PLACES };

// The new tokens; `wanted` are the rows, ascending, whose logits are asked for, or, with `hidden`, their last hidden
// states, normalised, (C) each.
struct Batch {
    const int32_t* ids;
    const int32_t* lines;  // of each row
    const int32_t* positions;
    const int32_t* wanted;
    const int32_t* const* tables;  // of each line: its blocks in the cache, in order
    const int32_t* table_lengths;  // of each line
    const Thin* const* adapters;   // of each line: its changes, (layers, PLACES), or null; those of one lie together
    int32_t rows, wanted_rows, hidden, line_count;
    int32_t ranks;  // most that an adapter here has; 0 where nobody has one
};

}  // extern "C"
