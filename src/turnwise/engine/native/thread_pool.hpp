// A pool of threads for passes of many short dependent phases, on a machine that may be busy with something else.
//
// A phase is cut into chunks. Each thread takes those of its own range, then those that others have not come to (work
// stealing, Blumofe & Leiserson 1999). A phase ends when all chunks are done, not when all threads have arrived: a thread
// that lost its core between two chunks holds nobody up, one that lost it inside a chunk costs at most that chunk, and the
// caller does all chunks itself if nobody comes. Which thread computes a chunk, and how chunks are cut, must not change
// results: every output is computed within one chunk, in one order of additions.
//
// Time spent waiting for threads that lost their cores is measured. Where there is much of it, fewer threads are tried (the
// others sleep), and kept if passes are faster so; from time to time one more is tried again. On a quiet machine nothing is
// tried.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "wait.hpp"

namespace turnwise {

class ThreadPool {
  public:
    explicit ThreadPool(int size) : size_(size), slots_(new Slot[size]), limit_(size), chosen_(size) {
        try {
            for (int slot = 1; slot < size; slot++) threads_.emplace_back([this, slot] { work(slot); });
        } catch (...) {
            close();
            throw;
        }
    }

    ~ThreadPool() { close(); }

    // Most threads, the caller included. Slots are numbers below it.
    int size() const { return size_; }

    // Threads that take part at present.
    int limit() const { return limit_.load(std::memory_order_relaxed); }

    // For tests: `limit` threads from now on (0: adapt again); with a seed, chunks of random sizes and pauses of up to
    // `pause` microseconds before and after chunks.
    void disturb(int limit, uint32_t seed, int pause) {
        fixed_ = limit > 0;
        chaos_ = seed;
        pause_ = pause;
        trial_windows_ = 0;
        chosen_ = fixed_ ? std::min(limit, size_) : size_;
        set_limit(chosen_);
    }

    // A pass: phases that follow each other within microseconds. Threads wake up now, and stay awake between them.
    void begin_pass() {
        began_ = Clock::now();
        pass_cost_ = 0;
        pass_.fetch_add(1, std::memory_order_seq_cst);  // odd: a pass is under way
        wake_sleepers();
    }

    void end_pass() {
        pass_.fetch_add(1, std::memory_order_seq_cst);
        if (fixed_ || size_ == 1) return;
        const auto now = Clock::now();
        int kind = 0;
        while (kind < KINDS - 1 && pass_cost_ >> 2 * (kind + 1)) kind++;
        Sum& sum = sums_[limit() != chosen_][kind];
        sum.cost += double(pass_cost_);
        sum.time += double(std::chrono::nanoseconds(now - began_).count());
        window_ += now - began_;
        if (window_ >= WINDOW) adapt(now);
    }

    // One phase: work(first, last, slot) for ranges that cover 0..items, cut at multiples of `unit`; returns when all
    // are done. `cost`: multiplications of all items together, roughly. A slot's calls never overlap.
    template <class Work>
    void run(int items, int64_t cost, const Work& work, int unit = 1) {
        pass_cost_ += cost;
        const int units = (items + unit - 1) / unit, chunks = count_chunks(units, cost);
        if (chunks <= 1) {
            if (items > 0) work(0, items, 0);
            return;
        }
        auto chunk = [&, units, chunks](int number, int slot) {
            const int first = int(int64_t(units) * number / chunks) * unit;
            const int last = std::min(items, int(int64_t(units) * (number + 1) / chunks) * unit);
            work(first, last, slot);
        };
        run_chunks(chunks, cost, [](const void* context, int number, int slot) {
            (*static_cast<const decltype(chunk)*>(context))(number, slot);
        }, &chunk);
    }

  private:
    using Clock = std::chrono::steady_clock;
    using Call = void (*)(const void* context, int chunk, int slot);

    // A ticket: the chunks first..last of a range that nobody has taken, 12 bits each, and above them the phase's number.
    static constexpr int BITS = 12;
    static constexpr uint64_t FIRST = 1, LAST = uint64_t(1) << BITS, PHASE = uint64_t(1) << 2 * BITS;
    static int first_of(uint64_t ticket) { return int(ticket % LAST); }
    static int last_of(uint64_t ticket) { return int(ticket / LAST % LAST); }

    static constexpr int64_t LEAST_COST = 1 << 14;  // multiplications of a chunk: a microsecond or more
    static constexpr int CHUNKS_EACH = 2;           // chunks of a phase for every thread, at most
    static constexpr auto SPIN = std::chrono::microseconds(60);   // then sleep: waking up takes about as long
    static constexpr auto EXCUSED = std::chrono::microseconds(150);  // no stall: uneven chunks, threads waking up
    static constexpr auto WINDOW = std::chrono::milliseconds(20);    // of passes, after which the limit may change
    static constexpr double MOST_STALLED = 0.05;  // of a window: with more, fewer threads are tried
    static constexpr double GAIN = 0.97;          // of the time that the present number takes: what is kept takes less
    static constexpr int TRIAL = 4;               // windows of a trial: the new number and the present one in turn
    static constexpr auto FIRST_HOLD = std::chrono::milliseconds(50);  // between trials; doubles when one was in vain
    static constexpr auto LAST_HOLD = std::chrono::seconds(2);
    static constexpr int KINDS = 20;  // of passes: only those of about the same cost are compared

    struct alignas(64) Slot {  // a cache line each: threads must not slow each other down
        std::atomic<uint64_t> ticket{0};
        std::atomic<int64_t> stalled{0};  // nanoseconds in this window
    };

    int count_chunks(int units, int64_t cost) {
        const int threads = limit();
        if (chaos_) return std::min(units, 1 + int(random() % 12));
        if (threads == 1 || cost < 2 * LEAST_COST) return 1;
        const int64_t each = std::clamp<int64_t>(cost / threads / LEAST_COST, 1, CHUNKS_EACH);
        return int(std::min<int64_t>({units, threads * each, int64_t(LAST) - 1}));
    }

    void run_chunks(int chunks, int64_t cost, Call call, const void* context) {
        // Nobody reads these now. A thread reads them only while it has a chunk, and the last phase ended when all of its
        // chunks were done; one that is late holds an old ticket, and its compare-exchange in `take` fails.
        call_ = call;
        context_ = context;
        excused_.store(std::chrono::nanoseconds(EXCUSED).count() + cost / chunks, std::memory_order_relaxed);
        undone_.store(chunks, std::memory_order_relaxed);
        phase_++;
        // Every thread has a range of its own, the same one in every pass, so its part of the weights stays in its cache,
        // and in a quiet phase nobody else touches its ticket. release: publishes the above to whoever takes a chunk.
        const int threads = limit();
        for (int slot = threads - 1; slot >= 0; slot--) {
            const uint64_t first = uint64_t(chunks) * slot / threads, last = uint64_t(chunks) * (slot + 1) / threads;
            slots_[slot].ticket.store(phase_ * PHASE + last * LAST + first * FIRST, std::memory_order_release);
        }
        wake_sleepers();
        wait_for_others(run_own(0) + steal(0));
    }

    // Runs the chunks of the slot's own range, in order; how many.
    int run_own(int slot) {
        int done = 0;
        while (take(slot, slot)) done++;
        return done;
    }

    // Runs the chunks that others have not come to, from the ends of their ranges; how many.
    int steal(int slot) {
        int done = 0;
        for (int i = 1; i < size_; i++)
            while (take((slot + i) % size_, slot)) done++;
        return done;
    }

    // Takes a chunk from a range and runs it; false where none is left. The phase's number in the ticket makes the exchange
    // fail for a thread that read it, lost its core and comes back in a later phase (40 bits do not come round again).
    bool take(int from, int slot) {
        std::atomic<uint64_t>& shared = slots_[from].ticket;
        uint64_t ticket = shared.load(std::memory_order_relaxed);
        while (first_of(ticket) < last_of(ticket)) {
            const uint64_t rest = from == slot ? ticket + FIRST : ticket - LAST;
            // acquire: see what the caller wrote before the ticket, and through it all that earlier phases computed. The
            // exchanges of other threads in between continue the caller's release sequence.
            if (!shared.compare_exchange_weak(ticket, rest, std::memory_order_acquire, std::memory_order_relaxed)) continue;
            if (pause_ > 0) pause_at_random(slot);
            call_(context_, from == slot ? first_of(ticket) : last_of(ticket) - 1, slot);
            if (pause_ > 0) pause_at_random(slot);
            return true;
        }
        return false;
    }

    // The caller has run `own` chunks and found no other left; threads may still compute some.
    void wait_for_others(int own) {
        // acquire: see what the others have computed.
        const auto done = [&] { return undone_.load(std::memory_order_acquire) == own; };
        if (done() || spin_until(done)) return;
        const auto since = Clock::now() - SPIN;
        caller_waits_for_.store(own, std::memory_order_seq_cst);
        while (true) {
            const uint32_t seen = done_.value();
            if (undone_.load(std::memory_order_seq_cst) == own) break;
            // Asleep, not spinning: the thread that we wait for may need this core.
            done_.sleep(seen);
        }
        caller_waits_for_.store(NOBODY, std::memory_order_relaxed);
        count_stall(0, Clock::now() - since);
    }

    // A thread tells that it has run chunks. From here on call_ and what it points to may change.
    void report(int done) {
        // release: the caller, who reads the number, sees our results. seq_cst: the load after it must not come before it,
        // or the caller might go to sleep at this moment without being woken: it first says that it sleeps, then looks at
        // the number; we first change the number, then look whether it sleeps. In one order of all, one sees the other.
        const int left = undone_.fetch_sub(done, std::memory_order_seq_cst) - done;
        if (left == caller_waits_for_.load(std::memory_order_seq_cst)) done_.wake_all();
    }

    void work(int slot) {
        while (!closing_.load(std::memory_order_acquire)) {
            if (slot >= limit()) {
                const uint32_t seen = parked_.value();
                if (slot >= limit() && !closing_.load(std::memory_order_seq_cst)) parked_.sleep(seen);
                continue;
            }
            const uint64_t seen = slots_[slot].ticket.load(std::memory_order_acquire);
            // Own chunks are reported before looking at the ranges of others, which takes time.
            const int own = run_own(slot);
            if (own) report(own);
            const int stolen = steal(slot);
            if (stolen) report(stolen);
            if (!own && !stolen) wait_for_phase(slot, seen);
        }
    }

    // Waits until the slot's ticket is another one.
    void wait_for_phase(int slot, uint64_t ticket) {
        const auto called = [&] {
            return slots_[slot].ticket.load(std::memory_order_relaxed) != ticket ||
                   closing_.load(std::memory_order_relaxed) || slot >= limit();
        };
        if (spin_until(called)) return;
        const auto since = Clock::now() - SPIN;
        const uint64_t pass = pass_.load(std::memory_order_seq_cst);
        // The caller publishes a phase and then looks who sleeps; we say that we sleep and then look for a phase. The
        // caller's two steps are not ordered, which would cost it a fence, so we may miss that phase, but not the next.
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        const uint32_t seen = signal_.value();
        if (!called() && pass_.load(std::memory_order_seq_cst) == pass) signal_.sleep(seen);
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        // Within a pass, phases follow each other at once, unless the caller lost its core.
        if (pass % 2 && pass_.load(std::memory_order_seq_cst) == pass) count_stall(slot, Clock::now() - since);
    }

    void wake_sleepers() {
        if (sleepers_.load(std::memory_order_relaxed)) signal_.wake_all();
    }

    template <class Condition>
    static bool spin_until(const Condition& condition) {
        Clock::time_point end{};
        do {
            for (int i = 0; i < 64; i++) {  // most waits end in here, without a look at the clock
                if (condition()) return true;
                relax();
            }
            if (end == Clock::time_point{}) end = Clock::now() + SPIN;
        } while (Clock::now() < end);
        return condition();
    }

    static void relax() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    void count_stall(int slot, Clock::duration waited) {
        const int64_t nanoseconds = std::chrono::nanoseconds(waited).count();
        if (nanoseconds > excused_.load(std::memory_order_relaxed))
            slots_[slot].stalled.fetch_add(nanoseconds, std::memory_order_relaxed);
    }

    // At the end of a window: goes on with a trial, or begins one.
    void adapt(Clock::time_point now) {
        int64_t longest = 0;
        for (int slot = 0; slot < size_; slot++)
            longest = std::max(longest, slots_[slot].stalled.exchange(0, std::memory_order_relaxed));
        const double share = double(longest) / double(std::chrono::nanoseconds(window_).count());
        window_ = {};
        if (trial_windows_ > 0) {
            if (--trial_windows_ == 0) decide(now);
            else set_limit(limit() == chosen_ ? tried_ : chosen_);
            return;
        }
        const int step = std::max(1, chosen_ / 4);
        const bool fewer = chosen_ > 1 && share > MOST_STALLED, more = !fewer && chosen_ < size_;
        if (now < resume_ || !(fewer || more)) return;
        tried_ = fewer ? chosen_ - step : std::min(size_, chosen_ + step);
        trial_windows_ = TRIAL;
        for (auto& sums : sums_) std::fill(sums, sums + KINDS, Sum{});
        set_limit(tried_);
    }

    // Keeps the number of threads that was tried, if its passes took less time than the same ones would have otherwise.
    void decide(Clock::time_point now) {
        double otherwise = 0, taken = 0;
        for (int kind = 0; kind < KINDS; kind++) {
            const Sum &present = sums_[0][kind], &tried = sums_[1][kind];
            if (present.cost <= 0 || tried.cost <= 0) continue;
            otherwise += tried.cost * present.time / present.cost;
            taken += tried.time;
        }
        if (taken < GAIN * otherwise) {
            chosen_ = tried_;
            hold_ = FIRST_HOLD;
        } else {
            hold_ = std::min<Clock::duration>(2 * hold_, LAST_HOLD);
        }
        resume_ = now + hold_;
        set_limit(chosen_);
    }

    void set_limit(int threads) {
        limit_.store(threads, std::memory_order_seq_cst);
        parked_.wake_all();
    }

    void close() {
        closing_.store(true, std::memory_order_seq_cst);
        signal_.wake_all();
        parked_.wake_all();
        for (auto& thread : threads_) thread.join();
        threads_.clear();
    }

    uint32_t random() {
        chaos_ = (chaos_ * 1664525u + 1013904223u) | 1u;  // never zero, which means off
        return chaos_ >> 8;
    }

    void pause_at_random(int slot) const {
        const auto now = Clock::now();
        const uint64_t mixed = (uint64_t(now.time_since_epoch().count()) ^ uint64_t(slot) << 7) * 0x9E3779B97F4A7C15u;
        const uint64_t drawn = mixed >> 32;
        if (drawn % 4 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(drawn / 4 % uint64_t(pause_)));
    }

    const int size_;
    std::vector<std::thread> threads_;

    static constexpr int NOBODY = -1;
    const std::unique_ptr<Slot[]> slots_;
    alignas(64) std::atomic<int> undone_{0};  // chunks that nobody has reported; the caller does not report its own
    std::atomic<int> caller_waits_for_{NOBODY};  // while it sleeps: the number that `undone_` falls to in the end
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> closing_{false};
    std::atomic<uint64_t> pass_{0};
    std::atomic<int> limit_;
    std::atomic<int64_t> excused_{0};
    WaitWord signal_, parked_, done_;  // a phase or pass began; the limit rose; the last chunk was done

    // The phase, valid while a chunk of it is not done.
    Call call_ = nullptr;
    const void* context_ = nullptr;

    // The caller's own.
    uint64_t phase_ = 0;
    Clock::time_point began_, resume_;
    Clock::duration window_{}, hold_ = FIRST_HOLD;
    struct Sum {
        double cost = 0, time = 0;  // multiplications; nanoseconds
    };
    int chosen_, tried_ = 0, trial_windows_ = 0;  // threads at present and in the trial; windows that it still takes
    Sum sums_[2][KINDS];                          // of passes with the present number, and with another
    int64_t pass_cost_ = 0;
    bool fixed_ = false;
    uint32_t chaos_ = 0;
    int pause_ = 0;  // read by whoever has a chunk
};

}  // namespace turnwise
