"""Number of torch's threads."""

import threading

import torch


def use_one_thread() -> None:
    """Limit torch to one thread in the calling thread.

    Torch's idle worker threads spin on the cores that the compiled library computes on: a step of 8 sequences took
    three times as long. `set_num_threads` also sets the default of threads that start later, so a helper thread
    restores it.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return
    torch.set_num_threads(1)
    restore = threading.Thread(target=torch.set_num_threads, args=(threads,))
    restore.start()
    restore.join()
