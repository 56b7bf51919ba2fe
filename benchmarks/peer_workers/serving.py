"""What a worker says and hears: a timed unit of work for each line it reads, told as a line of JSON.

Runs in every peer's own environment, so it needs nothing but NumPy.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from million import Log, load

Unit = Callable[[], dict[str, Any]]  # does some work and tells how many `units` it was


def serve(tasks: dict[str, Callable[[Log], Unit]]) -> None:
    """Make the task named on the command line ready, warm it up, and do it once a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print goes to the log
    task, path = sys.argv[1:3]
    _one_thread()
    unit = tasks[task](load(Path(path)))
    if not task.endswith("quality"):
        unit()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        begin = time.process_time()
        told = unit()
        spent = time.process_time() - begin
        print(json.dumps({"cpu_seconds": spent} | told), file=answers, flush=True)


def option(name: str, default: int) -> int:
    """Return a number given on the command line as NAME=NUMBER."""
    given = dict(word.split("=") for word in sys.argv[3:])
    return int(given.get(name, default))


def _one_thread() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
