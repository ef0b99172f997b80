// A pass of the generic decoder (models/decoder.py) over some new tokens of many chats, for `weights.py` and `runner.py`.
//
// Shapes: R rows (new tokens, of any chats), C hidden size, H heads, K key/value heads, D head size, F feed-forward size,
// V vocabulary. A row knows its line of tokens, which lies in blocks of the cache, and its position there; it sees
// its line up to itself.
#include <vector>

#include "attention.hpp"
#include "check.hpp"
#include "integer.hpp"
#include "linear.hpp"
#include "structs.hpp"
#include "thread_pool.hpp"
#include "vector.hpp"

#ifndef TURNWISE_SOURCE
#define TURNWISE_SOURCE "unknown"
#endif

using namespace turnwise;

namespace {

inline Vec squared_sum(const float* x, int n) {
    Vec total = {};
    for (int i = 0; i < n; i += WIDTH) total += load<Vec>(x + i) * load<Vec>(x + i);
    return total;
}

void rms_norm(const float* x, int n, float eps, Norm norm, float* out) {
    const float scale = 1.0f / std::sqrt(sum(squared_sum(x, n)) / n + eps);
    for (int i = 0; i < n; i += WIDTH) store(out + i, load<Vec>(x + i) * scale * load<Vec>(norm.weight + i));
}

void layer_norm(const float* x, int n, float eps, Norm norm, float* out) {
    Vec total = {};
    for (int i = 0; i < n; i += WIDTH) total += load<Vec>(x + i);
    const float mean = sum(total) / n;
    Vec squares = {};
    for (int i = 0; i < n; i += WIDTH) {
        const Vec apart = load<Vec>(x + i) - mean;
        squares += apart * apart;
    }
    const float scale = 1.0f / std::sqrt(sum(squares) / n + eps);
    for (int i = 0; i < n; i += WIDTH) {
        const Vec y = (load<Vec>(x + i) - mean) * scale * load<Vec>(norm.weight + i);
        store(out + i, norm.bias ? y + load<Vec>(norm.bias + i) : y);
    }
}

// Rotary positions: the first half of the dimensions is turned against the second.
void rotate(float* x, int D, const float* cosines, const float* sines) {
    for (int i = 0; i < D / 2; i++) {
        const float first = x[i], second = x[i + D / 2];
        x[i] = first * cosines[i] - second * sines[i];
        x[i + D / 2] = second * cosines[i + D / 2] + first * sines[i + D / 2];
    }
}

// Outputs of WIDTH ranks for one row. Each of the four sums waits for its last addition only.
Vec narrowed(const float* x, const float* down, int inputs) {
    Vec sums[4] = {};
    int i = 0;
    for (; i + 4 <= inputs; i += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) sums[k] += x[i + k] * load<Vec>(down + (i + k) * WIDTH);
    for (; i < inputs; i++) sums[0] += x[i] * load<Vec>(down + i * WIDTH);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// What ranks from..to make of WIDTH outputs of a panel, in two sums likewise.
inline Vec widened(const float* thin, const float* up, int from, int to) {
    Vec sums[2] = {};
    for (int k = from; k + 2 <= to; k += 2) {
        sums[0] += thin[k] * load<Vec>(up + k * PANEL);
        sums[1] += thin[k + 1] * load<Vec>(up + (k + 1) * PANEL);
    }
    if ((to - from) % 2) sums[0] += thin[to - 1] * load<Vec>(up + (to - 1) * PANEL);
    return sums[0] + sums[1];
}

constexpr int RUN = 4;  // rows of one line that look back together

class Decoder {
  public:
    Decoder(const Model& model, int threads)
        : m_(model), layers_(model.layer, model.layer + model.layers), pool_(threads), scratch_(threads) {
        widest_ = std::max({m_.hidden, m_.feed_forward, m_.heads * m_.head_dim});
        qkv_width_ = panels(layers_[0].qkv) * PANEL;
    }

    void forward(const Batch& batch, const Cache& cache, float* out) {
        const size_t R = batch.rows;
        grow(x_, R * m_.hidden);
        grow(h_, R * m_.hidden);
        grow(qkv_, R * qkv_width_);
        grow(mixed_, R * m_.heads * m_.head_dim);
        grow(wide_, R * m_.feed_forward);
        make_room_to_multiply(R);
        grow(thin_, R * batch.ranks);
        lines_.assign(batch.lines, batch.lines + R);
        positions_.assign(batch.positions, batch.positions + R);
        find_runs(int(R));
        stride_ = (*std::max_element(positions_.begin(), positions_.end()) / TILE + 1) * TILE;
        for (auto& own : scratch_) {
            grow(own.gate, ROW_BLOCK * PANEL);
            grow(own.scores, MOST * size_t(stride_));
        }
        const Pass pass(pool_);
        run(batch, cache, out);
    }

    // The head alone: hidden states, normalised, (R, C), to logits, (R, V).
    void logits(const float* hidden, int rows, float* out) {
        make_room_to_multiply(rows);
        const Pass pass(pool_);
        score(hidden, rows, out);
    }

    ThreadPool& pool() { return pool_; }
    const Model& model() const { return m_; }

  private:
    struct Pass {
        explicit Pass(ThreadPool& pool) : pool(pool) { pool.begin_pass(); }
        ~Pass() { pool.end_pass(); }
        ThreadPool& pool;
    };

    // What every thread has for itself.
    struct Scratch {
        std::vector<float> panel;   // a panel of weights as floats
        std::vector<float> gate;    // gates of a block of rows
        std::vector<float> scores;  // attention of some queries
    };

    template <class T>
    static void grow(std::vector<T>& buffer, size_t size) {
        if (buffer.size() < size) buffer.resize(size);
    }

    void make_room_to_multiply(size_t rows) {
        for (auto& own : scratch_) grow(own.panel, size_t(widest_) * PANEL);
        if (m_.head.bits > 8) return;
        const size_t most = rows * groups(widest_);
        grow(values_, most * GROUP);
        grow(scales_, most);
        grow(sums_, most);
    }

    static int panels(const Matrix& matrix) { return (matrix.outputs + PANEL - 1) / PANEL; }

    void normalise(const float* x, Norm norm, float* out) const {
        (m_.layer_norm ? layer_norm : rms_norm)(x, m_.hidden, m_.norm_eps, norm, out);
    }

    void look_up(size_t from, float* to) const {
        for (int i = 0; i < m_.hidden; i += WIDTH)
            store(to + i, m_.half_embed ? weights((const uint16_t*)m_.embed + from + i)
                                        : weights((const float*)m_.embed + from + i));
    }

    // thin = D x of the rows with adapters, for the product with layer `number`'s matrix at `place` that comes next.
    void narrow(const float* x, int rows, int inputs, int number, Place place, const Batch& batch) {
        if (!batch.ranks) return;
        pool_.run(rows, int64_t(rows) * inputs * batch.ranks, [&](int from, int to, int) {
            for (int first = from, end; first < to; first = end) {
                const Thin* adapter = batch.adapters[lines_[first]];
                for (end = first + 1; end < to && batch.adapters[lines_[end]] == adapter;) end++;
                if (!adapter || !adapter[number * PLACES + place].down) continue;
                const Thin& change = adapter[number * PLACES + place];
                for (int rank = 0; rank < change.ranks; rank += WIDTH)
                    for (int row = first; row < end; row++)
                        store(&thin_[size_t(row) * batch.ranks + rank],
                              narrowed(x + size_t(row) * inputs, change.down + size_t(rank) * inputs, inputs));
            }
        });
    }

    // Adds to the sums of a row and panel what the row's adapter changes.
    void adapt(int row, int panel, int number, Place place, const Batch& batch, float* sums) const {
        if (!batch.ranks) return;
        const Thin* adapter = batch.adapters[lines_[row]];
        if (!adapter || !adapter[number * PLACES + place].down) return;
        const Thin& change = adapter[number * PLACES + place];
        const float* thin = &thin_[size_t(row) * batch.ranks];
        const float* up = change.up + size_t(panel) * change.ranks * PANEL;
        const int from = change.ranges[2 * panel], to = change.ranges[2 * panel + 1];
        Vec low = widened(thin, up, from, to), high = widened(thin, up + WIDTH, from, to);
        low += load<Vec>(sums), high += load<Vec>(sums + WIDTH);
        if (change.factor) {
            low *= load<Vec>(change.factor + panel * PANEL);
            high *= load<Vec>(change.factor + panel * PANEL + WIDTH);
        }
        store(sums, low);
        store(sums + WIDTH, high);
    }

    // done(row, panel, sums, slot) for all rows and panels; panels 2i and 2i + 1 of a row come one after the other.
    template <class Done>
    void multiply(const float* x, int rows, const Matrix& matrix, Done done) {
        const IntegerRows rounded = matrix.bits > 8 ? IntegerRows{} : quantize_rows(x, rows, matrix);
        // Few rows take as long as reading the weights does.
        const int64_t cost = int64_t(matrix.inputs) * matrix.outputs * (rows + 1) / (matrix.bits > 8 ? 1 : 2);
        const int count = panels(matrix), blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
        const int padded = (count + FEW_ROWS_PANELS - 1) / FEW_ROWS_PANELS * FEW_ROWS_PANELS;
        static_assert(FEW_ROWS_PANELS % 2 == 0, "a gate's panel and what it gates stay together");
        // Chunks are groups of panels of one block of rows after the other, so that all threads read the same rows.
        pool_.run(blocks * padded, cost, [&](int first, int last, int slot) {
            for (int from = first, to; from < last; from = to) {
                const int block = from / padded;
                to = std::min(last, (block + 1) * padded);
                const int start = block * ROW_BLOCK, end = std::min(rows, start + ROW_BLOCK);
                const auto own = [&](int row, int panel, float* sums) { done(row, panel, sums, slot); };
                const auto go = [&](auto product) {
                    Linear<decltype(product), decltype(own)>(product, start, end, own)
                        .run(from - block * padded, std::min(count, to - block * padded));
                };
                float* widened = scratch_[slot].panel.data();
                switch (matrix.bits) {
                    case 32: go(FloatProduct<float>(x, matrix.inputs, matrix.weights, widened)); break;
                    case 16: go(FloatProduct<uint16_t>(x, matrix.inputs, matrix.weights, widened)); break;
                    case 8: go(IntegerProduct<8>(rounded, matrix.inputs, matrix.weights, matrix.scales)); break;
                    default: go(IntegerProduct<4>(rounded, matrix.inputs, matrix.weights, matrix.scales));
                }
            }
        }, FEW_ROWS_PANELS);
    }

    // The rows as whole numbers; they stay until the next call.
    IntegerRows quantize_rows(const float* x, int rows, const Matrix& matrix) {
        IntegerRows rounded{values_.data(), scales_.data(), sums_.data()};
        const int each = groups(matrix.inputs);
        pool_.run(rows * each, int64_t(rows) * matrix.inputs * 4, [&](int from, int to, int) {
            for (int at = from; at < to; at++) {
                const int first = at % each * GROUP;
                rounded.set(at, x + size_t(at / each) * matrix.inputs + first, std::min(GROUP, matrix.inputs - first));
            }
        });
        return rounded;
    }

    // to[row] = or += x W + b, before the bias changed by `change(row, panel, sums)`
    template <bool ADD, class Change>
    void project(const float* x, int rows, const Matrix& matrix, float* to, int stride, int columns, Change change) {
        multiply(x, rows, matrix, [&](int row, int panel, float* sums, int) {
            change(row, panel, sums);
            float* at = to + size_t(row) * stride + panel * PANEL;
            const float* bias = matrix.bias ? matrix.bias + panel * PANEL : nullptr;
            const int count = std::min(PANEL, columns - panel * PANEL);
            for (int i = 0; i < count; i++) {
                const float value = bias ? sums[i] + bias[i] : sums[i];
                at[i] = ADD ? at[i] + value : value;
            }
        });
    }

    // The logits, (rows, V). No adapter changes the head.
    void score(const float* hidden, int rows, float* out) {
        project<false>(hidden, rows, m_.head, out, m_.vocabulary, m_.vocabulary, [](int, int, float*) {});
    }

    // wide = act(gate) * up, or act(up). Gate and up panels alternate, so one thread has both.
    template <class Change>
    void widen(const float* x, int rows, const Layer& layer, Change change) {
        const Matrix& up = layer.up;
        multiply(x, rows, up, [&](int row, int panel, float* sums, int slot) {
            change(row, panel, sums);
            const float* bias = up.bias ? up.bias + panel * PANEL : nullptr;
            float* gate = scratch_[slot].gate.data() + row % ROW_BLOCK * PANEL;
            const bool is_gate = m_.gated && panel % 2 == 0;
            const int column = (m_.gated ? panel / 2 : panel) * PANEL;
            float* at = wide_.data() + size_t(row) * m_.feed_forward + column;
            alignas(64) float values[PANEL];
            for (int i = 0; i < PANEL; i += WIDTH) {
                Vec value = load<Vec>(sums + i);
                if (bias) value += load<Vec>(bias + i);
                if (is_gate || !m_.gated) value = m_.gelu ? gelu_tanh(value) : silu(value);
                else value *= load<Vec>(gate + i);
                store((is_gate ? gate : values) + i, value);
            }
            if (!is_gate) std::copy(values, values + std::min(PANEL, m_.feed_forward - column), at);
        });
    }

    // Queries and keys get their norms and their positions; keys and values go into the cache.
    template <class Number>
    void remember(int row, const Layer& layer, int number, const Batch& batch, const Cache& cache) {
        const int H = m_.heads, K = m_.kv_heads, D = m_.head_dim, position = positions_[row];
        float* q = qkv_.data() + size_t(row) * qkv_width_;
        for (int head = 0; head < H + K; head++) {
            float* x = q + head * D;
            if (layer.query_norm.weight)
                rms_norm(x, D, m_.norm_eps, head < H ? layer.query_norm : layer.key_norm, x);
            if (layer.rotated) rotate(x, D, m_.cosines + size_t(position) * D, m_.sines + size_t(position) * D);
        }
        const int32_t block = batch.tables[lines_[row]][position / TILE];
        for (int head = 0; head < K; head++) {
            const float* key = q + (H + head) * D;
            const size_t at = part_of(cache, number, head) + block * size_t(K) * D * TILE;
            Number* column = (Number*)cache.keys + at + position % TILE;
            for (int d = 0; d < D; d++) put(column + d * TILE, key[d]);
            const float* value = key + K * D;
            Number* to = (Number*)cache.values + at + size_t(position % TILE) * D;
            for (int d = 0; d < D; d++) put(to + d, value[d]);
        }
    }

    // mixed = the attention of rows first..last, all of one line, and of `together` heads from `head` on, which share
    // a key/value head.
    template <class Number>
    void look_back(int slot, int first, int last, int head, int together, const Layer& layer, int number,
                   const Batch& batch, const Cache& cache) {
        const int H = m_.heads, K = m_.kv_heads, D = m_.head_dim;
        const size_t at = part_of(cache, number, head / (H / K)), block = size_t(K) * D * TILE;
        const int32_t* table = batch.tables[lines_[first]];
        const Blocks<Number> keys{(const Number*)cache.keys + at, block, table};
        const Blocks<Number> values{(const Number*)cache.values + at, block, table};
        Query queries[MOST];
        int count = 0;
        for (int row = first; row < last; row++)
            for (int h = head; h < head + together; h++) {
                const int to = positions_[row] + 1, from = layer.window ? std::max(0, to - layer.window) : 0;
                queries[count++] = {qkv_.data() + size_t(row) * qkv_width_ + h * D, from, to,
                                    mixed_.data() + (size_t(row) * H + h) * D};
                if (count < MOST && (row < last - 1 || h < head + together - 1)) continue;
                attend(queries, count, D, keys, values, scratch_[slot].scores.data(), stride_);
                count = 0;
            }
    }

    // Cuts the rows that are left into runs of one line each, which share its keys and values: few enough for all threads
    // to have work.
    void find_runs(int rows) {
        const int most = std::clamp(rows * m_.kv_heads / pool_.limit(), 1, RUN);
        runs_.clear();
        for (int row = 0; row < rows; row++)
            if (runs_.empty() || lines_[row] != lines_[runs_.back()] || row - runs_.back() == most) runs_.push_back(row);
        runs_.push_back(rows);
    }

    // Where a layer's first block has this head's keys, or values.
    size_t part_of(const Cache& cache, int layer, int head) const {
        return (size_t(layer) * cache.blocks * m_.kv_heads + head) * m_.head_dim * TILE;
    }

    void run(const Batch& batch, const Cache& cache, float* out) {
        const int C = m_.hidden, H = m_.heads, D = m_.head_dim;
        int R = batch.rows;
        float *x = x_.data(), *h = h_.data(), *mixed = mixed_.data();
        // work(row) for all rows, of so many multiplications each.
        const auto for_rows = [&](int64_t cost, auto work) {
            pool_.run(R, R * cost, [&](int first, int last, int) {
                for (int row = first; row < last; row++) work(row);
            });
        };
        const auto normalise_rows = [&](Norm norm) {
            for_rows(3 * C, [&](int row) { normalise(x + size_t(row) * C, norm, h + size_t(row) * C); });
        };

        for_rows(6 * C, [&](int row) {
            float* at = x + size_t(row) * C;
            look_up(size_t(batch.ids[row]) * C, at);
            if (m_.position)
                for (int i = 0; i < C; i++) at[i] += m_.position[size_t(positions_[row]) * C + i];
            normalise(at, layers_[0].attention_norm, h + size_t(row) * C);
        });
        for (int number = 0; number < m_.layers; number++) {
            const Layer& layer = layers_[number];
            const auto change = [&](Place place) {
                return [this, number, place, &batch](int row, int panel, float* sums) {
                    adapt(row, panel, number, place, batch, sums);
                };
            };
            narrow(h, R, C, number, QKV, batch);
            project<false>(h, R, layer.qkv, qkv_.data(), qkv_width_, layer.qkv.outputs, change(QKV));
            for_rows(8 * (H + 2 * m_.kv_heads) * D, [&](int row) {
                if (cache.half) remember<uint16_t>(row, layer, number, batch, cache);
                else remember<float>(row, layer, number, batch, cache);
            });
            if (number == m_.layers - 1 && batch.wanted_rows < R) {
                // Nobody reads the other rows any more.
                keep(batch);
                R = batch.wanted_rows;
                find_runs(R);
            }
            attend_rows(R, layer, number, batch, cache);
            narrow(mixed, R, H * D, number, OUT, batch);
            project<true>(mixed, R, layer.out, x, C, C, change(OUT));
            normalise_rows(layer.mlp_norm);
            narrow(h, R, C, number, UP, batch);
            widen(h, R, layer, change(UP));
            narrow(wide_.data(), R, m_.feed_forward, number, DOWN, batch);
            project<true>(wide_.data(), R, layer.down, x, C, C, change(DOWN));
            normalise_rows(number + 1 < m_.layers ? layers_[number + 1].attention_norm : m_.norm);
        }
        if (batch.hidden) std::copy(h, h + size_t(R) * C, out);
        else score(h, R, out);
    }

    // mixed = the attention of all rows.
    void attend_rows(int rows, const Layer& layer, int number, const Batch& batch, const Cache& cache) {
        const int H = m_.heads, K = m_.kv_heads, runs = int(runs_.size()) - 1;
        // The queries of a key/value head share its keys, unless that leaves threads without work.
        const int together = runs * K < pool_.limit() ? 1 : H / K, heads = H / together;
        int64_t seen = 0;
        for (int row = 0; row < rows; row++)
            seen += layer.window ? std::min(layer.window, positions_[row] + 1) : positions_[row] + 1;
        pool_.run(runs * heads, 4 * seen * H * m_.head_dim, [&](int from, int to, int slot) {
            for (int item = from; item < to; item++) {
                const int first = runs_[item / heads], last = runs_[item / heads + 1], head = item % heads * together;
                if (cache.half) look_back<uint16_t>(slot, first, last, head, together, layer, number, batch, cache);
                else look_back<float>(slot, first, last, head, together, layer, number, batch, cache);
            }
        });
    }

    // Moves the wanted rows to the front, in the same order.
    void keep(const Batch& batch) {
        for (int i = 0; i < batch.wanted_rows; i++) {
            const size_t row = batch.wanted[i];
            if (row == size_t(i)) continue;
            std::copy(&x_[row * m_.hidden], &x_[row * m_.hidden] + m_.hidden, &x_[size_t(i) * m_.hidden]);
            std::copy(&qkv_[row * qkv_width_], &qkv_[row * qkv_width_] + m_.heads * m_.head_dim,
                      &qkv_[size_t(i) * qkv_width_]);
            lines_[i] = lines_[row];
            positions_[i] = positions_[row];
        }
    }

    const Model m_;
    const std::vector<Layer> layers_;
    ThreadPool pool_;
    std::vector<Scratch> scratch_;
    int widest_, qkv_width_, stride_ = 0;
    std::vector<float> x_, h_, qkv_, mixed_, wide_;
    std::vector<float> thin_;  // (R, ranks): the rows as adapters narrow them
    std::vector<int8_t> values_;  // of the rows that a matrix of whole numbers is multiplied with, and their scales and sums
    std::vector<float> scales_;
    std::vector<int32_t> sums_;
    std::vector<int32_t> lines_, positions_;
    std::vector<int> runs_;  // the first row of each run, and the end of the last
};

thread_local const char* refusal = nullptr;

}  // namespace

extern "C" {

// Whether this processor has the instructions this file was compiled for.
int32_t turnwise_runs_here() {
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

// Which sources this was compiled from: the structures above must be those of library.py.
const char* turnwise_source() { return TURNWISE_SOURCE; }

// The instructions it computes with, as far as numbers may depend on them.
const char* turnwise_arithmetic() {
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

int32_t turnwise_panel() { return PANEL; }
int32_t turnwise_width() { return WIDTH; }
int32_t turnwise_tile() { return TILE; }
int32_t turnwise_group() { return GROUP; }

// What was wrong with the arguments of this thread's last call that was refused.
const char* turnwise_error() { return refusal; }

// Null where memory or threads ran out, or where the model is refused; then turnwise_error says why.
void* turnwise_create(const Model* model, int32_t threads) {
    try {
        refusal = threads < 1 || threads > 1024 ? "the number of threads is out of range" : check_model(*model);
        if (refusal) return nullptr;
        return new Decoder(*model, threads);
    } catch (...) {
        return nullptr;
    }
}

// 0; 1 where memory ran out; 2 where the batch is refused, and turnwise_error says why.
int32_t turnwise_forward(void* decoder, const Batch* batch, const Cache* cache, float* out) {
    try {
        refusal = check_batch(static_cast<Decoder*>(decoder)->model(), *batch, *cache);
        if (refusal) return 2;
        static_cast<Decoder*>(decoder)->forward(*batch, *cache, out);
        return 0;
    } catch (...) {
        return 1;
    }
}

// 0, or 1 where memory ran out.
int32_t turnwise_logits(void* decoder, const float* hidden, int32_t rows, float* out) {
    try {
        static_cast<Decoder*>(decoder)->logits(hidden, rows, out);
        return 0;
    } catch (...) {
        return 1;
    }
}

// Threads that take part at present: fewer than there are while the machine is busy with something else.
int32_t turnwise_threads(void* decoder) { return static_cast<Decoder*>(decoder)->pool().limit(); }

// For tests and measurements; see ThreadPool::disturb.
void turnwise_disturb(void* decoder, int32_t limit, uint32_t seed, int32_t pause) {
    static_cast<Decoder*>(decoder)->pool().disturb(limit, seed, pause);
}

void turnwise_destroy(void* decoder) { delete static_cast<Decoder*>(decoder); }

}  // extern "C"
