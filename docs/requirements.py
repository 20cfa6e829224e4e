"""Writes ``requirements.md``: every requirement with the tests that prove it.

A test proves R31 when ``r31`` is a word of its name, as in ``test_r31_group_without_address``.

    python docs/requirements.py     write the page; fails when a requirement has no test
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "requirements.md"
TESTS = ROOT / "tests"

SECTIONS: Mapping[str, Mapping[int, str]] = {
    "Sending": {
        1: "A signal or one call is enough to send; nobody has to press anything.",
        2: "There are requests and notifications, and a host may add kinds of its own.",
        3: "Nothing is sent before a server and a default From are set.",
        4: "A message that cannot be sent because nothing is set up is an error that is seen; "
        "it can be resent later, and the host's own page goes on.",
        5: "Recipients are those that the rules resolve, and nobody else.",
        6: "A professional or secretary without the desktop client gets no mail.",
    },
    "Panel and company domain": {
        7: "One panel, for administrators only, holds all settings.",
        8: "The company domain is cleaned of `@`, blanks and a final dot, or is an error.",
        9: "The part before `@` is enough for users and groups.",
        10: "Short addresses are completed when a message is made, never when they are saved.",
        11: "A full address stays as it is, in any domain.",
        12: "A short address without a company domain is an error that names it.",
        13: "Default To and default From may be short, too.",
    },
    "Server": {
        14: "Mail goes to the server that is set, and to no other.",
        15: "The server is a host name, a single label, an IPv4 or an IPv6 address.",
        16: "The port is a whole number from 1 to 65535; empty means 25.",
    },
    "Authentication": {
        17: "Authentication is a choice, off at first.",
        18: "Off means that no credentials leave, whatever is stored.",
        19: "On means that they are accepted before the message goes, or nothing goes.",
        20: "Login, password and its repetition; a mismatch saves nothing and is shown there.",
        21: "A login is that of the mail server, never that of the user who causes the mail.",
        22: "All processes share the settings.",
        23: "A process may override settings; the panel shows them read-only and tests with them.",
        24: "A refusal for want of authentication is recognised and explained.",
    },
    "Who receives a merge request": {
        25: "A denied merge sends a request; another failure of a merge does not.",
        26: "The request names both contacts, with links if there are any, and who asked.",
        27: "It goes to somebody with the right to merge.",
        28: "It depends on where the contacts are; each location is resolved.",
        29: "First choice is the address of the group with the right there.",
        30: "A group's own address is used, never those of its members.",
        31: "A group without an address means the default To.",
        32: "No group means the default To; of several the first with an address is taken.",
        33: "The default To stands in for anybody without an address.",
        34: "It stands in for a missing address; what reached nobody is sent there once.",
        35: "Without a default To either, it is an error that is seen.",
    },
    "Whose address stands in From": {
        36: "One policy, current user or default From, covers every message.",
        37: "It is current user at first.",
        38: "The current user is taken when the event happens and kept with the message. An "
        "address with international characters before the @ stands in the text instead of From.",
        39: "The message says who asked, in its body and in Reply-To.",
        40: "Display name, From and envelope sender are separate; the last is always default From.",
        41: "With the policy default From, every message comes from there.",
        42: "That works without a user, too.",
        43: "A user without an address means default From.",
        44: "Default To and default From are both needed to save.",
        45: "They may be equal.",
    },
    "Test Settings": {
        46: "The page is in the order of the work, Test before Save.",
        47: "A test uses what is in the form and saves nothing.",
        48: "The test message goes to the default To,",
        49: "comes from the default From,",
        50: "and has the default From in Cc, in one copy where both are the same.",
        51: "It really uses the server; where sending is suppressed the verdict says so.",
        52: "The page says whether the message was sent.",
        53: "It says that accepted is not yet arrived, and where to look.",
        54: "When there is no connection it says that the settings are probably wrong.",
        55: "Each way to fail has its own words and advice; 15 seconds are the limit.",
        56: "Tests can be repeated; what was typed stays, and the password is never shown again.",
        57: "Saving stores all or nothing; an empty password on the same server keeps the old one.",
    },
}


def main() -> int:
    """Write the page; the exit status is 0 only if every requirement has a test."""
    found = tests_by_requirement()
    PAGE.write_text(page(found), "utf-8")
    if without := missing(found):
        print("without a test:", ", ".join(f"R{number}" for number in without))
    return int(bool(without))


def missing(found: Mapping[int, list[str]]) -> list[int]:
    """The requirements that no test proves."""
    return [number for section in SECTIONS.values() for number in section if number not in found]


def tests_by_requirement() -> dict[int, list[str]]:
    """Requirement → its tests as ``file::name``, in order."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in _test_names(ast.parse(path.read_text("utf-8"))):
            for number in re.findall(r"(?<=_)r(\d+)(?=_|$)", name):
                where = f"{path.relative_to(TESTS).as_posix()}::{name}"
                found.setdefault(int(number), []).append(where)
    return found


def page(found: Mapping[int, list[str]]) -> str:
    """The text of ``requirements.md``."""
    lines = [
        "# Requirements and their tests",
        "",
        "What the extension must do, in short, and the tests that prove it (below `tests/`).",
        "This page is written by `make requirements` from the names of the tests; a test fails",
        "when a requirement has none or the page is out of date.",
    ]
    for title, section in SECTIONS.items():
        lines += ["", f"## {title}", "", "| | requirement | tests |", "|---|---|---|"]
        for number, text in section.items():
            tests = "<br>".join(f"`{test}`" for test in found.get(number, ())) or "none"
            lines.append(f"| R{number} | {text} | {tests} |")
    return "\n".join(lines) + "\n"


def _test_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if named and node.name.startswith("test_"):
            yield node.name


if __name__ == "__main__":
    sys.exit(main())
