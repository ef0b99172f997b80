// A thread pool for forward passes: many short dependent phases, on a machine that other processes use too.
//
// A phase is cut into chunks. Each thread takes the chunks of its own range, then steals those that others have not reached
// (Blumofe & Leiserson 1999). A phase ends when all chunks are done, not when all threads have arrived: a thread that loses
// its core between two chunks delays nobody, one that loses it inside a chunk costs at most that chunk, and the caller
// computes all chunks itself if no thread comes. Which thread computes a chunk, and how a phase is cut, must not change
// results: every output is computed within one chunk, in one order of additions.
//
// Waiting threads spin for the length of a wake-up, then sleep. Time spent waiting for threads that lost their cores goes to
// ThreadTuner, which may lower the number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "futex.hpp"
#include "thread_tuner.hpp"

namespace turnwise {

class ThreadPool {
  public:
    explicit ThreadPool(int size) : size_(size), workers_(new Worker[size]), limit_(size), tuner_(size) {
        try {
            for (int id = 1; id < size; id++) threads_.emplace_back([this, id] { worker_loop(id); });
        } catch (...) {
            close();
            throw;
        }
    }

    ~ThreadPool() { close(); }

    // Number of threads, the caller included, which has id 0. Thread ids are smaller.
    int size() const { return size_; }

    // Number of threads that compute at present.
    int limit() const { return limit_.load(std::memory_order_relaxed); }

    // For tests: compute with `limit` threads (0: let the tuner choose). A nonzero `seed` cuts phases into random chunks,
    // `max_pause` delays threads before and after chunks by up to so many microseconds.
    void set_test_perturbation(int limit, uint32_t seed, int max_pause) {
        random_state_ = seed;
        max_pause_ = max_pause;
        set_limit(tuner_.fix(limit));
    }

    // A pass: phases that follow each other within microseconds. Threads wake up now and stay awake between phases.
    void begin_pass() {
        pass_start_ = Clock::now();
        pass_cost_ = 0;
        pass_.fetch_add(1, std::memory_order_seq_cst);  // odd during a pass
        wake_sleepers();
    }

    void end_pass() {
        pass_.fetch_add(1, std::memory_order_seq_cst);
        if (!tuner_.is_active()) return;
        const auto now = Clock::now();
        if (!tuner_.record_pass(limit(), pass_cost_, now - pass_start_)) return;
        int64_t longest_stall = 0;
        for (int id = 0; id < size_; id++)
            longest_stall = std::max(longest_stall, workers_[id].stalled_ns.exchange(0, std::memory_order_relaxed));
        const int next = tuner_.end_window(limit(), longest_stall, now);
        if (next != limit()) set_limit(next);
    }

    // Runs one phase and returns when it is complete: work(first, last, thread_id) for ranges that cover 0..items, cut at
    // multiples of `unit`. `cost`: approximate multiplications of all items. Calls with the same thread id never overlap.
    template <class Work>
    void run(int items, int64_t cost, const Work& work, int unit = 1) {
        pass_cost_ += cost;
        const int units = (items + unit - 1) / unit, chunks = count_chunks(units, cost);
        if (chunks <= 1) {
            if (items > 0) work(0, items, 0);
            return;
        }
        auto run_chunk = [&, units, chunks](int number, int id) {
            const int first = int(int64_t(units) * number / chunks) * unit;
            const int last = std::min(items, int(int64_t(units) * (number + 1) / chunks) * unit);
            work(first, last, id);
        };
        run_chunks(chunks, cost, [](const void* context, int number, int id) {
            (*static_cast<const decltype(run_chunk)*>(context))(number, id);
        }, &run_chunk);
    }

  private:
    using Clock = std::chrono::steady_clock;
    using ChunkFunction = void (*)(const void* context, int chunk, int thread_id);

    // A ticket packs a range of chunks that are not taken yet, first..last with 12 bits each, and the number of the phase
    // above them, so that one compare-exchange takes a chunk and checks the phase.
    static constexpr int CHUNK_BITS = 12;
    static constexpr uint64_t FIRST = 1, LAST = uint64_t(1) << CHUNK_BITS, PHASE = uint64_t(1) << 2 * CHUNK_BITS;
    static int first_of(uint64_t ticket) { return int(ticket % LAST); }
    static int last_of(uint64_t ticket) { return int(ticket / LAST % LAST); }

    static constexpr int64_t MIN_CHUNK_COST = 1 << 14;  // multiplications: a microsecond or more
    static constexpr int MAX_CHUNKS_PER_THREAD = 2;
    static constexpr auto SPIN_TIME = std::chrono::microseconds(60);  // about the time of a wake-up
    static constexpr auto STALL_TOLERANCE = std::chrono::microseconds(150);  // for uneven chunks and threads waking up
    static constexpr int NOBODY = -1;

    struct alignas(64) Worker {  // one cache line each: no false sharing
        std::atomic<uint64_t> ticket{0};
        std::atomic<int64_t> stalled_ns{0};  // in the tuner's present window
    };

    int count_chunks(int units, int64_t cost) {
        const int threads = limit();
        if (random_state_) return std::min(units, 1 + int(next_random() % 12));
        if (threads == 1 || cost < 2 * MIN_CHUNK_COST) return 1;
        const int64_t per_thread = std::clamp<int64_t>(cost / threads / MIN_CHUNK_COST, 1, MAX_CHUNKS_PER_THREAD);
        return int(std::min<int64_t>({units, threads * per_thread, int64_t(LAST) - 1}));
    }

    void run_chunks(int chunks, int64_t cost, ChunkFunction function, const void* context) {
        // No thread reads `function_` and `context_` now: a thread reads them only while it has a chunk, and the last phase
        // ended when all its chunks were done. A late thread holds an old ticket, so its compare-exchange in `take` fails.
        function_ = function;
        context_ = context;
        stall_tolerance_ns_.store(std::chrono::nanoseconds(STALL_TOLERANCE).count() + cost / chunks,
                                  std::memory_order_relaxed);
        unreported_.store(chunks, std::memory_order_relaxed);
        phase_++;
        // Every thread has the same range in every pass, so its share of the weights stays in its cache, and in a quiet
        // phase no other thread touches its ticket. release: publishes the stores above to whoever takes a chunk.
        const int threads = limit();
        for (int id = threads - 1; id >= 0; id--) {
            const uint64_t first = uint64_t(chunks) * id / threads, last = uint64_t(chunks) * (id + 1) / threads;
            workers_[id].ticket.store(phase_ * PHASE + last * LAST + first * FIRST, std::memory_order_release);
        }
        wake_sleepers();
        wait_for_completion(run_own_range(0) + steal(0));
    }

    // Runs the chunks of the thread's own range in order. Returns how many it ran.
    int run_own_range(int id) {
        int done = 0;
        while (take(id, id)) done++;
        return done;
    }

    // Runs chunks that other threads have not reached, from the ends of their ranges. Returns how many it ran.
    int steal(int id) {
        int done = 0;
        for (int i = 1; i < size_; i++)
            while (take((id + i) % size_, id)) done++;
        return done;
    }

    // Takes a chunk of the range of `owner` and runs it; false if none is left. The phase number in the ticket lets the
    // exchange fail for a thread that read it, lost its core and continues in a later phase (40 bits do not wrap around).
    bool take(int owner, int id) {
        std::atomic<uint64_t>& shared = workers_[owner].ticket;
        uint64_t ticket = shared.load(std::memory_order_relaxed);
        while (first_of(ticket) < last_of(ticket)) {
            const uint64_t remaining = owner == id ? ticket + FIRST : ticket - LAST;
            // acquire: see what the caller wrote before the ticket, and through it the results of all earlier phases.
            // Exchanges of other threads in between continue the caller's release sequence.
            if (!shared.compare_exchange_weak(ticket, remaining, std::memory_order_acquire, std::memory_order_relaxed))
                continue;
            if (max_pause_ > 0) pause_at_random(id);
            function_(context_, owner == id ? first_of(ticket) : last_of(ticket) - 1, id);
            if (max_pause_ > 0) pause_at_random(id);
            return true;
        }
        return false;
    }

    // The caller has run `own_chunks` chunks, which it does not report, and all others are taken; waits until those are
    // reported.
    void wait_for_completion(int own_chunks) {
        // acquire: see the results of the other threads.
        const auto is_complete = [&] { return unreported_.load(std::memory_order_acquire) == own_chunks; };
        if (is_complete() || spin_until(is_complete)) return;
        const auto since = Clock::now() - SPIN_TIME;
        caller_target_.store(own_chunks, std::memory_order_seq_cst);
        while (true) {
            const uint32_t value = completed_.value();
            if (unreported_.load(std::memory_order_seq_cst) == own_chunks) break;
            // Sleeping, not spinning: the thread that we wait for may need this core.
            completed_.sleep(value);
        }
        caller_target_.store(NOBODY, std::memory_order_relaxed);
        record_stall(0, Clock::now() - since);
    }

    // Reports `done` chunks of a worker. Afterwards the caller may change `function_` and what `context_` points to.
    void report(int done) {
        // release: the caller, which reads the counter, sees our results. seq_cst: the following load must not move before
        // the subtraction, or the caller could fall asleep in between and never wake. The caller first stores its target,
        // then reads the counter; we first change the counter, then read the target. In the total order, one sees the other.
        const int left = unreported_.fetch_sub(done, std::memory_order_seq_cst) - done;
        if (left == caller_target_.load(std::memory_order_seq_cst)) completed_.wake_all();
    }

    void worker_loop(int id) {
        while (!closing_.load(std::memory_order_acquire)) {
            if (id >= limit()) {
                const uint32_t value = limit_changed_.value();
                if (id >= limit() && !closing_.load(std::memory_order_seq_cst)) limit_changed_.sleep(value);
                continue;
            }
            const uint64_t ticket = workers_[id].ticket.load(std::memory_order_acquire);
            // Report own chunks before stealing: looking at the ranges of others takes time.
            const int own = run_own_range(id);
            if (own) report(own);
            const int stolen = steal(id);
            if (stolen) report(stolen);
            if (!own && !stolen) wait_for_phase(id, ticket);
        }
    }

    // Waits until the ticket of the thread changes.
    void wait_for_phase(int id, uint64_t ticket) {
        const auto has_work = [&] {
            return workers_[id].ticket.load(std::memory_order_relaxed) != ticket ||
                   closing_.load(std::memory_order_relaxed) || id >= limit();
        };
        if (spin_until(has_work)) return;
        const auto since = Clock::now() - SPIN_TIME;
        const uint64_t pass = pass_.load(std::memory_order_seq_cst);
        // The caller publishes a phase and then reads `sleepers_`; we raise `sleepers_` and then look for a phase. The
        // caller's two steps are not ordered, which would cost it a fence per phase, so we may miss that phase, but not the
        // next one. Missing one is harmless: the caller steals our chunks.
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        const uint32_t value = phase_started_.value();
        if (!has_work() && pass_.load(std::memory_order_seq_cst) == pass) phase_started_.sleep(value);
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        // Within a pass phases follow each other at once, unless the caller lost its core.
        if (pass % 2 && pass_.load(std::memory_order_seq_cst) == pass) record_stall(id, Clock::now() - since);
    }

    void wake_sleepers() {
        if (sleepers_.load(std::memory_order_relaxed)) phase_started_.wake_all();
    }

    template <class Condition>
    static bool spin_until(const Condition& condition) {
        Clock::time_point end{};
        do {
            for (int i = 0; i < 64; i++) {  // most waits end here, without reading the clock
                if (condition()) return true;
                pause_cpu();
            }
            if (end == Clock::time_point{}) end = Clock::now() + SPIN_TIME;
        } while (Clock::now() < end);
        return condition();
    }

    static void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    void record_stall(int id, Clock::duration waited) {
        const int64_t nanoseconds = std::chrono::nanoseconds(waited).count();
        if (nanoseconds > stall_tolerance_ns_.load(std::memory_order_relaxed))
            workers_[id].stalled_ns.fetch_add(nanoseconds, std::memory_order_relaxed);
    }

    void set_limit(int threads) {
        limit_.store(threads, std::memory_order_seq_cst);
        limit_changed_.wake_all();
    }

    void close() {
        closing_.store(true, std::memory_order_seq_cst);
        phase_started_.wake_all();
        limit_changed_.wake_all();
        for (auto& thread : threads_) thread.join();
        threads_.clear();
    }

    // A linear congruential generator. Its state is never zero, which means off.
    uint32_t next_random() {
        random_state_ = (random_state_ * 1664525u + 1013904223u) | 1u;
        return random_state_ >> 8;
    }

    // Sleeps one time in four, drawn from the clock.
    void pause_at_random(int id) const {
        const auto now = Clock::now();
        const uint64_t hash = (uint64_t(now.time_since_epoch().count()) ^ uint64_t(id) << 7) * 0x9E3779B97F4A7C15u;
        const uint64_t drawn = hash >> 32;
        if (drawn % 4 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(drawn / 4 % uint64_t(max_pause_)));
    }

    const int size_;
    std::vector<std::thread> threads_;

    const std::unique_ptr<Worker[]> workers_;
    alignas(64) std::atomic<int> unreported_{0};  // chunks of the phase that no worker has reported
    std::atomic<int> caller_target_{NOBODY};      // while the caller sleeps: the value of `unreported_` that it waits for
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> closing_{false};
    std::atomic<uint64_t> pass_{0};
    std::atomic<int> limit_;
    std::atomic<int64_t> stall_tolerance_ns_{0};
    Futex phase_started_, limit_changed_, completed_;

    // The present phase; valid while a chunk of it is not done.
    ChunkFunction function_ = nullptr;
    const void* context_ = nullptr;

    // Used by the caller's thread only.
    uint64_t phase_ = 0;
    Clock::time_point pass_start_;
    int64_t pass_cost_ = 0;
    ThreadTuner tuner_;
    uint32_t random_state_ = 0;
    int max_pause_ = 0;  // also read by threads that have a chunk
};

}  // namespace turnwise
