// A counter that threads sleep on until it changes: a futex on Linux, a condition variable elsewhere.
//
// With a futex, waking never blocks: a sleeper that is descheduled on its way in or out holds no lock that the waker needs.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__linux__)
#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace turnwise {

// A sleeper reads `value`, checks its condition, and sleeps on the value it read. A waker makes the condition true, then
// calls `wake_all`. The change of the counter in between makes `sleep` return at once, so no wake-up is lost.
class Futex {
  public:
    uint32_t value() const { return value_.load(std::memory_order_seq_cst); }

#if defined(__linux__)
    // Returns when the counter differs from `expected`, or spuriously; callers check their condition in a loop. The kernel
    // compares and sleeps atomically.
    void sleep(uint32_t expected) { syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0); }

    void wake_all() {
        value_.fetch_add(1, std::memory_order_seq_cst);
        syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }
#else
    void sleep(uint32_t expected) {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return value() != expected; });
    }

    void wake_all() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            value_.fetch_add(1, std::memory_order_seq_cst);
        }
        changed_.notify_all();
    }
#endif

  private:
    std::atomic<uint32_t> value_{0};
    static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);
#if !defined(__linux__)
    std::mutex mutex_;
    std::condition_variable changed_;
#endif
};

}  // namespace turnwise
