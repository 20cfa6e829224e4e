"""Log records carry what a host's formatter or filter needs, apart from the text."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest

import flask_interaction_mail
from flask_interaction_mail.logs import log

PACKAGE = Path(flask_interaction_mail.__file__).parent
EVENT = re.compile(r"[a-z_{}]+\.[a-z_{}]+: ")


def test_a_record_has_the_name_of_its_event(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes it, and whatever its arguments are."""
    log.error("message.poison: %s: %s", "id", "reason: none")
    logging.getLogger("flask_interaction_mail").warning("no event here %s", "x")
    assert [getattr(record, "event", None) for record in caplog.records] == [
        "message.poison",
        "no event here %s",
    ]


def texts() -> list[tuple[str, str]]:
    """Where the package logs, and the text; what is put into it later stands in braces."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if not isinstance(node.func.value, ast.Name) or node.func.value.id != "log":
                continue
            where = f"{path.name}:{node.lineno}"
            text = node.args[1 if node.func.attr == "log" else 0]
            if isinstance(text, ast.Constant):
                found.append((where, str(text.value)))
            elif isinstance(text, ast.JoinedStr):
                parts = (
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in text.values
                )
                found.append((where, "".join(parts)))
    return found


def test_each_text_of_the_package_begins_with_an_event() -> None:
    """A word for what it is about, a dot, a word for what happened, a colon."""
    assert len(texts()) > 40
    assert [where for where, text in texts() if not EVENT.match(text)] == []
