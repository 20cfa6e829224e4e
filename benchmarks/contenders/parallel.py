"""Several worker processes on one queue."""

from __future__ import annotations

import gc
import multiprocessing
import time
from multiprocessing.synchronize import Barrier

from flask_interaction_mail.delivery.factory import dispatcher_of

from .ours import host


def drain(url: str, port: int, count: int, processes: int) -> dict[str, float]:
    """Messages a second of all ``processes``, from the first one's start to the last one's end."""
    context = multiprocessing.get_context("fork")
    start_line = context.Barrier(processes)
    with context.Pool(processes, _line_up, [start_line]) as pool:
        runs = pool.starmap(_deliver, [(url, port)] * processes, chunksize=1)
    sent, starts, ends = zip(*runs, strict=True)
    if sum(sent) != count:
        raise SystemExit(f"sent {sent} of {count}")
    return {"rate": count / (max(ends) - min(starts))}


def _line_up(start_line: Barrier) -> None:
    global _start_line
    _start_line = start_line


def _deliver(url: str, port: int) -> tuple[int, float, float]:
    dispatcher = dispatcher_of(host(url, port))
    gc.collect()
    gc.freeze()  # as `flask interaction-mail worker` does
    _start_line.wait()
    start = time.perf_counter()  # the same clock in all processes
    sent = dispatcher.drain().sent
    return sent, start, time.perf_counter()


_start_line: Barrier
