"""What came out: lines for the terminal, and docs/servers.md."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime

from .every import EVERY
from .known import KNOWN
from .running import ROOT
from .trial import Trial

_PAGE = ROOT / "docs" / "servers.md"
_COLUMNS = (
    "server",
    "version",
    "recipients",
    "lost",
    "doubled",
    "wrongly judged",
    "bodies changed",
    "seconds",
    "longest pause, s",
    "connections",
    "drains",
    "ms a message",
    "in turn, ms",
)
_HEAD = """# Real mail servers: the last result

<!-- Written by `make servers`. Do not edit. -->

`make servers` started each of these servers with what its distribution, npm or PyPI ships, gave
each {mixed} mixed messages and {small} small ones from an outbox in SQLite, and compared what the
server had stored or passed on with what the outbox said, recipient by recipient. The mixed ones
have several recipients, addresses that the server refuses, lines of dots, letters beyond ASCII,
up to 2.4 MB, attachments, hidden recipients, and up to 32 recipients of which 12 do not exist.
It ran on {when} at commit {commit}, with Python {python} on {cores} cores that did other work, too.

*lost* is said to be sent and is not there, *doubled* is there more than once, *wrongly judged* is
a good address that was not sent to, or a refused one that was not told to be refused. These must be
0. *seconds* are from the first attempt to the last record, *longest pause* is the longest time
without one. A *drain* is one `flask interaction-mail worker --once`; after the first, what the
server had deferred was made due at once. *ms a message* is what a small one takes on one connection
with its commands in one write, and *in turn* with each after the answer to the one before, where
the server offers PIPELINING; both took turns of ten. [Your mail server](mail-server.md) says what
follows for the settings.

"""


_BACK = (
    "## What comes back\n",
    "Each server that passes mail on took three more messages, and the server behind it refused",
    "those recipients who are *gone*, with `550 5.1.1 no such mailbox`. `bounces read` then took",
    "the first report from standard input, all but the last from a mailbox of Dovecot by IMAP, and",
    "all of them from a maildir: each found its message and was noted once. Haraka does not say",
    "what became of a recipient who was refused beside another one: that a report came is shown",
    "then, and no more. [What happens when it does not arrive](returned-mail.md) says what",
    "follows from it.\n",
)


def lines(one: Trial) -> list[str]:
    """What ``one`` came to, for the terminal."""
    if one.account is None:
        return [f"not tried: {one.why}"]
    told = dict(zip(_COLUMNS[1:], _cells(one)[1:], strict=True))
    found = [", ".join(f"{name} {value}" for name, value in told.items()), *one.account.examples]
    if one.returned is not None:
        found += [str(one.returned)] if not one.returned.right else []
        found += [f"came back: {one.returned.reports} reports", *_back(one)]
    return found


def write(results: list[Trial], *, mixed: int, small: int) -> None:
    """Write the page anew."""
    tried = [one for one in results if one.account is not None]
    rows = [_row(_COLUMNS), "|---|---|" + "---:|" * (len(_COLUMNS) - 2)]
    rows += [_row(_cells(one)) for one in tried]
    known = [_row(("server", "what it offers", "what is known")), "|---|---|---|"]
    known += [_row((one.server, ", ".join(one.offers), KNOWN[one.server])) for one in tried]
    names = {one.server for one in results}
    absent = [f"- {one.server}: {one.why}" for one in results if one.account is None]
    absent += [f"- {name}: left out of this run" for name in EVERY if name not in names]
    parts = [_head(mixed, small), *rows, "", "## What they offer, and what is known\n", *known]
    parts += ["", *_BACK, _row(("server", "reports", "letter", "recipient", "state", "reason"))]
    parts += ["|---|---:|---|---|---|---|", *(line for one in tried for line in _back(one))]
    if absent:
        parts += ["", "## Not tried\n", *absent]
    _PAGE.write_text("\n".join([*parts, ""]), encoding="utf-8")
    print(f"written: {_PAGE.relative_to(ROOT)}")


def _cells(one: Trial) -> list[str]:
    found, took = one.account, one.drained
    if found is None or took is None:
        raise LookupError(one.server)
    counts = (found.recipients, found.lost, found.doubled, found.misjudged, found.changed)
    times = (f"{took.seconds:.1f}", f"{took.pause:.1f}")
    turns = (took.connections, took.drains)
    tempo = (f"{one.tempo.together:.2f}", f"{one.tempo.in_turn:.2f}") if one.tempo else ("", "")
    return [one.server, one.version, *map(str, counts), *times, *map(str, turns), *tempo]


def _back(one: Trial) -> list[str]:
    if one.returned is None:
        return []
    head = (one.server, str(one.returned.reports))
    return [
        _row((*head, said.letter, said.address, said.status, said.reason or "-"))
        for said in one.returned.verdicts
    ]


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(mixed: int, small: int) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return _HEAD.format(
        mixed=mixed,
        small=small,
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        commit=commit.stdout.strip(),
        python=platform.python_version(),
        cores=os.cpu_count(),
    )
