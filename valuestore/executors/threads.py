"""The default executor: a thread pool of this process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor


def open_threads(workers: int | None = None) -> ThreadPoolExecutor:
    """A pool of ``workers`` threads, by default one for each processor this process may use."""
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(max_workers=workers, thread_name_prefix="valuestore")
