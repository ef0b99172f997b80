// Runs passes of dependent phases on a ThreadPool with fixed numbers of threads, random chunks and delayed threads, and
// compares them with the same work on one thread. Exits with 1 if a result differs. Compile with -fsanitize=thread or address.
#include <cstdio>
#include <cstdlib>

#include "thread_pool.hpp"

using turnwise::ThreadPool;

// Every phase reads all results of the previous one, so a missing, repeated or late chunk changes the result.
static uint64_t run_passes(ThreadPool& pool, int passes, int phases, int items) {
    std::vector<uint64_t> now(items), next(items);
    std::vector<std::vector<uint64_t>> scratch(pool.size(), std::vector<uint64_t>(1));
    for (int pass = 0; pass < passes; pass++) {
        pool.begin_pass();
        for (int phase = 0; phase < phases; phase++) {
            const int count = 1 + (items - 1) * (phase % 3) / 2;
            pool.run(count, int64_t(count) << 17, [&](int first, int last, int id) {
                for (int item = first; item < last; item++) {
                    scratch[id][0] = now[item];  // calls with one thread id must not overlap
                    for (int k = 0; k < items; k += 7) scratch[id][0] += now[k] * (k + 1);
                    next[item] = scratch[id][0] * 0x9E3779B97F4A7C15u + phase;
                }
            });
            std::copy(next.begin(), next.begin() + count, now.begin());
        }
        pool.end_pass();
    }
    uint64_t sum = 0;
    for (uint64_t value : now) sum = sum * 31 + value;
    return sum;
}

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
    ThreadPool single(1);
    const uint64_t expected = run_passes(single, 10, 30, 50);
    ThreadPool pool(4), neighbour(3);
    for (int round = 0; round < rounds; round++) {
        pool.set_test_perturbation(round % 5, uint32_t(round * 7), round % 3 ? 0 : 300);
        std::thread neighbour_caller([&] { run_passes(neighbour, 10, 30, 50); });
        const uint64_t actual = run_passes(pool, 10, 30, 50);
        neighbour_caller.join();
        if (actual != expected) return std::printf("round %d differs\n", round), 1;
    }
    for (int i = 0; i < rounds; i++) ThreadPool short_lived(1 + i % 4);
    return 0;
}
