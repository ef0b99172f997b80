// Passes of dependent phases on a ThreadPool, under forced team sizes, random chunks and delayed threads, compared with
// the same work on one thread. Exits with 1 if a result differs. Compile it with -fsanitize=thread or address.
#include <cstdio>
#include <cstdlib>

#include "thread_pool.hpp"

using turnwise::ThreadPool;

// Every phase reads all of the phase before, so a chunk that is missing, repeated or late shows in the result.
static uint64_t run_passes(ThreadPool& pool, int passes, int phases, int items) {
    std::vector<uint64_t> now(items), next(items);
    std::vector<std::vector<uint64_t>> scratch(pool.size(), std::vector<uint64_t>(1));
    for (int pass = 0; pass < passes; pass++) {
        pool.begin_pass();
        for (int phase = 0; phase < phases; phase++) {
            const int count = 1 + (items - 1) * (phase % 3) / 2;
            pool.run(count, int64_t(count) << 17, [&](int first, int last, int slot) {
                for (int item = first; item < last; item++) {
                    scratch[slot][0] = now[item];  // a slot's calls must not overlap
                    for (int other = 0; other < items; other += 7) scratch[slot][0] += now[other] * (other + 1);
                    next[item] = scratch[slot][0] * 0x9E3779B97F4A7C15u + phase;
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
    ThreadPool alone(1);
    const uint64_t expected = run_passes(alone, 10, 30, 50);
    ThreadPool pool(4), other(3);
    for (int round = 0; round < rounds; round++) {
        pool.disturb(round % 5, uint32_t(round * 7), round % 3 ? 0 : 300);
        std::thread beside([&] { run_passes(other, 10, 30, 50); });
        const uint64_t found = run_passes(pool, 10, 30, 50);
        beside.join();
        if (found != expected) return std::printf("round %d differs\n", round), 1;
    }
    for (int i = 0; i < rounds; i++) ThreadPool short_lived(1 + i % 4);
    return 0;
}
