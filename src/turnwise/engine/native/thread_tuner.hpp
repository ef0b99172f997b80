// Chooses how many threads of a pool compute, on a machine that other processes use too.
//
// A thread that loses its core stalls the passes it takes part in. When stalls take up more than a small share of the time,
// fewer threads are tried in windows that alternate with windows of the present number. The new number is adopted if the
// same work took less time with it. From time to time, one step more is tried again. A quiet machine sees no trials of fewer.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace turnwise {

class ThreadTuner {
  public:
    using Clock = std::chrono::steady_clock;

    explicit ThreadTuner(int max_threads) : max_threads_(max_threads), chosen_(max_threads) {}

    // Ends any trial. `limit` threads from now on, without trials; 0: all threads, with trials.
    int fix(int limit) {
        is_fixed_ = limit > 0;
        trial_windows_ = 0;
        chosen_ = is_fixed_ ? std::min(limit, max_threads_) : max_threads_;
        return chosen_;
    }

    bool is_active() const { return !is_fixed_ && max_threads_ > 1; }

    // Records a pass of `cost` multiplications that `threads` threads computed. True at the end of a window.
    bool record_pass(int threads, int64_t cost, Clock::duration elapsed) {
        int bucket = 0;
        while (bucket < COST_BUCKETS - 1 && cost >> 2 * (bucket + 1)) bucket++;
        Total& total = totals_[threads != chosen_][bucket];
        total.cost += double(cost);
        total.time += double(std::chrono::nanoseconds(elapsed).count());
        window_ += elapsed;
        return window_ >= WINDOW;
    }

    // Ends a window in which the thread that waited longest was stalled for `stalled_ns` nanoseconds. Returns the number of
    // threads for the next window.
    int end_window(int threads, int64_t stalled_ns, Clock::time_point now) {
        const double stalled_share = double(stalled_ns) / double(std::chrono::nanoseconds(window_).count());
        window_ = {};
        if (trial_windows_ > 0) {
            if (--trial_windows_ == 0) return end_trial(now);
            return threads == chosen_ ? candidate_ : chosen_;
        }
        const int step = std::max(1, chosen_ / 4);
        const bool try_fewer = chosen_ > 1 && stalled_share > MAX_STALLED_SHARE;
        const bool try_more = !try_fewer && chosen_ < max_threads_;
        if (now < next_trial_ || !(try_fewer || try_more)) return threads;
        candidate_ = try_fewer ? chosen_ - step : std::min(max_threads_, chosen_ + step);
        trial_windows_ = TRIAL_WINDOWS;
        for (auto& totals : totals_) std::fill(totals, totals + COST_BUCKETS, Total{});
        return candidate_;
    }

  private:
    static constexpr auto WINDOW = std::chrono::milliseconds(20);  // time in passes after which the number may change
    static constexpr double MAX_STALLED_SHARE = 0.05;  // of a window; above it, fewer threads are tried
    static constexpr double MAX_TIME_RATIO = 0.97;     // a candidate must take less than this share of the present time
    static constexpr int TRIAL_WINDOWS = 4;            // candidate and present number in turn
    static constexpr auto MIN_PAUSE = std::chrono::milliseconds(50);  // between trials; doubles after a failed one
    static constexpr auto MAX_PAUSE = std::chrono::seconds(2);
    static constexpr int COST_BUCKETS = 20;  // factor 4 each; only passes of similar cost are compared

    // Adopts the candidate if its passes took less time than passes of the same cost with the present number.
    int end_trial(Clock::time_point now) {
        double expected_time = 0, candidate_time = 0;
        for (int bucket = 0; bucket < COST_BUCKETS; bucket++) {
            const Total &present = totals_[0][bucket], &candidate = totals_[1][bucket];
            if (present.cost <= 0 || candidate.cost <= 0) continue;
            expected_time += candidate.cost * present.time / present.cost;
            candidate_time += candidate.time;
        }
        if (candidate_time < MAX_TIME_RATIO * expected_time) {
            chosen_ = candidate_;
            pause_ = MIN_PAUSE;
        } else {
            pause_ = std::min<Clock::duration>(2 * pause_, MAX_PAUSE);
        }
        next_trial_ = now + pause_;
        return chosen_;
    }

    struct Total {
        double cost = 0, time = 0;  // multiplications; nanoseconds
    };

    const int max_threads_;
    bool is_fixed_ = false;
    int chosen_;                            // the present number of threads
    int candidate_ = 0, trial_windows_ = 0; // the number in trial; remaining windows of the trial
    Total totals_[2][COST_BUCKETS];         // passes with the present number, and with another
    Clock::duration window_{}, pause_ = MIN_PAUSE;
    Clock::time_point next_trial_;
};

}  // namespace turnwise
