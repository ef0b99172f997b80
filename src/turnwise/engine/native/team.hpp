// A team of threads that runs one function together, with barriers inside it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace turnwise {

class Team {
  public:
    explicit Team(int size) : size_(size) {
        try {
            for (int part = 1; part < size; part++) threads_.emplace_back([this, part] { follow(part); });
        } catch (...) {
            close();  // those that were started wait for work that never comes
            throw;
        }
    }

    ~Team() { close(); }

    int size() const { return size_; }

    // Runs job(part) for every part at once, the caller being part 0; returns when all have ended.
    void run(const std::function<void(int)>& job) {
        if (size_ > 1) {
            {
                std::lock_guard<std::mutex> hold(mutex_);
                job_ = &job;
                job_number_++;
            }
            wake_.notify_all();
        }
        job(0);
        barrier();
    }

    // Waits until every part has come here.
    void barrier() {
        if (size_ == 1) return;
        const unsigned round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++) {
            // The others are microseconds away, unless the processor is doing something else for them.
            if (spins < 1000) pause();
            else std::this_thread::yield();
        }
    }

  private:
    static void pause() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    void close() {
        {
            std::lock_guard<std::mutex> hold(mutex_);
            closing_ = true;
            job_number_++;
        }
        wake_.notify_all();
        for (auto& thread : threads_) thread.join();
        threads_.clear();
    }

    void follow(int part) {
        unsigned long done = 0;
        while (true) {
            // While chats run one step follows another within microseconds, and going to sleep would take longer.
            for (int spins = 0; spins < 4000 && job_number_.load(std::memory_order_acquire) == done; spins++) pause();
            std::unique_lock<std::mutex> hold(mutex_);
            wake_.wait(hold, [&] { return job_number_.load() != done; });
            done = job_number_;
            if (closing_) return;
            const auto* job = job_;
            hold.unlock();
            (*job)(part);
            barrier();
        }
    }

    const int size_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<unsigned long> job_number_{0};
    const std::function<void(int)>* job_ = nullptr;
    bool closing_ = false;
    std::atomic<int> arrived_{0};
    std::atomic<unsigned> round_{0};
};

}  // namespace turnwise
