"""Runs one contender in a fresh process and prints what it returns as JSON.

python -m benchmarks.child [--cpu N] MODULE FUNCTION '{"argument": 1}'
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path


def peak_memory() -> float:
    """Peak memory of this process in MB. getrusage would include that of its parent."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError("VmHWM")


def main(arguments: list[str]) -> None:
    if arguments[0] == "--cpu":
        os.sched_setaffinity(0, {int(arguments[1])})
        arguments = arguments[2:]
    module, function, given = arguments
    name = module if "." in module else f"benchmarks.contenders.{module}"
    found = getattr(importlib.import_module(name), function)
    result = found(**json.loads(given))
    print("\n" + json.dumps(result | {"peak_memory": peak_memory()}))


if __name__ == "__main__":
    main(sys.argv[1:])
