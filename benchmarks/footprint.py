"""What a message costs in write-ahead log, and what a sent one keeps on the disk."""

from __future__ import annotations

from typing import Any

from .earlier import Build
from .harness import Options, Samples, child, progress
from .servers import cluster, database, log_position, sink, size, vacuum

STORING, DELIVERING, TOGETHER = "storing", "delivering", "storing and delivering"


def logged(builds: list[Build], options: Options) -> dict[str, Samples]:
    """Bytes of PostgreSQL's log a message, by what was done; nothing without its programs.

    Full pages after a checkpoint are left out: their number depends on when those happen.
    """
    count = options.size(5000, 200)
    samples: dict[str, Samples] = {
        what: {build.name: [] for build in builds} for what in (STORING, DELIVERING, TOGETHER)
    }
    with cluster(full_page_writes="off", autovacuum="off") as server, sink() as port:
        if server is None:
            return {}
        for _ in range(options.rounds):
            for build in builds:
                with database("postgresql", options, server) as url:
                    stored, delivered = _logged(build, url, port, count)
                for what, taken in (
                    (STORING, stored),
                    (DELIVERING, delivered),
                    (TOGETHER, stored + delivered),
                ):
                    samples[what][build.name].append(taken)
                progress(f"{build.name}: {stored:.0f} bytes stored, {delivered:.0f} delivered")
    return samples


def _logged(build: Build, url: str, port: int, count: int) -> tuple[float, float]:
    """Bytes a message for storing it, and for delivering it."""
    child("ours", "fill", root=build.root, url=url, port=port, count=0)  # makes the tables
    positions = [log_position(url)]
    child("ours", "fill", root=build.root, url=url, port=port, count=count)
    positions.append(log_position(url))
    child("ours", "drain", root=build.root, url=url, port=port, count=count, **build.drain)
    positions.append(log_position(url))
    before, between, after = positions
    return (between - before) / count, (after - between) / count


def kept(dialect: str, builds: list[Build], options: Options) -> Samples:
    """Bytes on the disk for each sent message without its body.

    Half of the messages are stored, sent, and purged before the other half, which finds the room
    that the first has left.
    """
    half = options.size(50_000, 500, 500_000)
    samples: Samples = {build.name: [] for build in builds}
    for build in builds:
        with sink() as port, database(dialect, options) as url:
            for stored in (half, 2 * half):
                _keep(build, url, port, half)
                bytes_each = size(url) / stored
                progress(f"{dialect}, {build.name}: {bytes_each:.0f} bytes, {stored:,} messages")
        samples[build.name].append(bytes_each)
    return samples


def _keep(build: Build, url: str, port: int, count: int) -> None:
    given: dict[str, Any] = {"root": build.root, "url": url}
    child("retention", "fill", port=port, count=count, **given)
    child("ours", "drain", port=port, count=count, **given)
    purged = child("retention", "purge", **given)["bodies"]
    if purged != count:
        raise SystemExit(f"{build.name}: purged {purged} of {count}")
    vacuum(url)
