// The C interface of the library, called from Python (library.py). The only file that is compiled; the others are headers.
#include "decoder.hpp"
#include "encoder.hpp"
#include "structs.hpp"
#include "validate.hpp"
#include "validate_encoder.hpp"

#ifndef TURNWISE_SOURCE
#define TURNWISE_SOURCE "unknown"
#endif

using namespace turnwise;

namespace {

thread_local const char* last_error = nullptr;

}  // namespace

extern "C" {

// Whether this processor has the instructions that this file was compiled for.
int32_t turnwise_is_cpu_supported() {
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(__AVX512F__)  // x86-64-v4
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 0;
#endif
#if defined(__AVX512VNNI__)
    if (!__builtin_cpu_supports("avx512vnni")) return 0;
#elif defined(__AVXVNNI__)
    if (!__builtin_cpu_supports("avxvnni")) return 0;
#endif
#if defined(__AVX2__)  // x86-64-v3
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) return 0;
#endif
#endif
    return 1;
}

// Hash of the sources (sources.py). A library of other sources is not used: its structures may differ.
const char* turnwise_source_hash() { return TURNWISE_SOURCE; }

// The instruction set, as far as results may depend on it.
const char* turnwise_instruction_set() {
#if defined(__AVX512VNNI__)
    return "avx512vnni";
#elif defined(__AVX512F__)
    return "avx512";
#elif defined(__AVXVNNI__)
    return "avxvnni";
#elif defined(__AVX2__)
    return "avx2";
#else
    return "plain";
#endif
}

int32_t turnwise_panel_size() { return PANEL; }
int32_t turnwise_vector_width() { return WIDTH; }
int32_t turnwise_block_size() { return BLOCK_SIZE; }
int32_t turnwise_group_size() { return GROUP; }

// Why the last call of this thread rejected its arguments, or null.
const char* turnwise_last_error() { return last_error; }

// Returns null if memory or threads ran out, or if the model is invalid; then turnwise_last_error is set.
void* turnwise_create(const ModelWeights* model, int32_t threads) {
    try {
        last_error = threads < 1 || threads > 1024 ? "the number of threads is out of range" : validate_model(*model);
        if (last_error) return nullptr;
        return new Decoder(*model, threads);
    } catch (...) {
        return nullptr;
    }
}

// Returns 0; 1 if memory ran out; 2 if the batch is invalid, with turnwise_last_error set.
int32_t turnwise_forward(void* decoder, const Batch* batch, const KVCacheView* cache, float* out) {
    try {
        last_error = validate_batch(static_cast<Decoder*>(decoder)->model(), *batch, *cache);
        if (last_error) return 2;
        static_cast<Decoder*>(decoder)->forward(*batch, *cache, out);
        return 0;
    } catch (...) {
        return 1;
    }
}

// Returns 0, 1 if memory ran out, or 2 with a message if an argument is invalid.
int32_t turnwise_logits(void* decoder, const float* hidden, int32_t rows, float* out) {
    if (!hidden || !out || rows < 0 || rows > MAX_ROWS) {
        last_error = "the number of rows is out of range";
        return 2;
    }
    try {
        static_cast<Decoder*>(decoder)->logits(hidden, rows, out);
        return 0;
    } catch (...) {
        return 1;
    }
}

// Threads that compute at present; fewer than the pool has while other processes need the cores.
int32_t turnwise_active_threads(void* decoder) { return static_cast<Decoder*>(decoder)->pool().limit(); }

// For tests and measurements; see ThreadPool::set_test_perturbation.
void turnwise_set_test_perturbation(void* decoder, int32_t limit, uint32_t seed, int32_t max_pause) {
    static_cast<Decoder*>(decoder)->pool().set_test_perturbation(limit, seed, max_pause);
}

void turnwise_destroy(void* decoder) { delete static_cast<Decoder*>(decoder); }

// As turnwise_create, for an encoder.
void* turnwise_create_encoder(const EncoderWeights* model, int32_t threads) {
    try {
        last_error = threads < 1 || threads > 1024 ? "the number of threads is out of range" : validate_encoder(*model);
        if (last_error) return nullptr;
        return new Encoder(*model, threads);
    } catch (...) {
        return nullptr;
    }
}

// Returns 0; 1 if memory ran out; 2 if the batch is invalid, with turnwise_last_error set.
int32_t turnwise_encode(void* encoder, const EncoderBatch* batch, float* out) {
    try {
        last_error = validate_encoder_batch(static_cast<Encoder*>(encoder)->model(), *batch);
        if (last_error) return 2;
        static_cast<Encoder*>(encoder)->forward(*batch, out);
        return 0;
    } catch (...) {
        return 1;
    }
}

// For tests; see ThreadPool::set_test_perturbation.
void turnwise_set_encoder_perturbation(void* encoder, int32_t limit, uint32_t seed, int32_t max_pause) {
    static_cast<Encoder*>(encoder)->pool().set_test_perturbation(limit, seed, max_pause);
}

void turnwise_destroy_encoder(void* encoder) { delete static_cast<Encoder*>(encoder); }

}  // extern "C"
