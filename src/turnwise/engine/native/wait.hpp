// A number that threads sleep on until somebody changes it: a futex on Linux, a condition variable elsewhere.
//
// Waking never blocks on Linux: a sleeper that loses its core on its way in or out holds no lock that the waker needs.
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

class WaitWord {
  public:
    uint32_t value() const { return value_.load(std::memory_order_seq_cst); }

#if defined(__linux__)
    // Returns once the number is not `seen`, or sooner.
    void sleep(uint32_t seen) { syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0); }

    void wake_all() {
        value_.fetch_add(1, std::memory_order_seq_cst);
        syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }
#else
    void sleep(uint32_t seen) {
        std::unique_lock<std::mutex> hold(mutex_);
        changed_.wait(hold, [&] { return value() != seen; });
    }

    void wake_all() {
        {
            std::lock_guard<std::mutex> hold(mutex_);
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
