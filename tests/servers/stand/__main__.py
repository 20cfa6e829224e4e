"""python -m tests.servers.stand [--only postfix,haraka] [--mixed N] [--small N] [--write]"""

from __future__ import annotations

import argparse
import sys

from . import page
from .every import EVERY
from .trial import trial


def main() -> None:
    """Try the servers one after the other, then show the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.stand")
    parser.add_argument("--only", default=",".join(EVERY), help=f"of {', '.join(EVERY)}")
    parser.add_argument("--mixed", type=int, default=300, help="messages of every kind")
    parser.add_argument("--small", type=int, default=700, help="messages of one line")
    parser.add_argument("--write", action="store_true", help="also into docs/servers.md")
    given = parser.parse_args()
    results = []
    for name in given.only.split(","):
        print(f"{name} …", flush=True)
        results.append(trial(name, mixed=given.mixed, small=given.small))
        print("  " + "\n  ".join(page.lines(results[-1])), flush=True)
    if given.write:
        page.write(results, mixed=given.mixed, small=given.small)
    sys.exit(0 if all(one.right for one in results) else 1)


if __name__ == "__main__":
    main()
