"""The watch of T11 sees a password wherever it may come out, and only there."""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from flask import Flask, Response

from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.signals import settings_changed
from tests.canary import PASSWORD, Watch, learn
from tests.proofs import proved

OTHER = "another-bird"  # the real canary would fail the very test that lets it out
app = Flask("leaky")


@pytest.fixture
def watch() -> Watch:
    return Watch(OTHER)


def in_log(text: str, folder: Path) -> None:
    logging.getLogger("anybody").info("said %s", text)


def in_extra(text: str, folder: Path) -> None:
    logging.getLogger("anybody").info("said", extra={"more": text})


def in_variables(text: str, folder: Path) -> None:
    # What is compiled here stands for a function of the package: the tests' own are left out.
    code = compile("def fails(text):\n    raise ValueError('no')\n", "somewhere.py", "exec")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - as said
    try:
        names["fails"](text)
    except ValueError:
        logging.getLogger("anybody").exception("failed")


def in_response(text: str, folder: Path) -> None:
    app.view_functions["page"] = lambda: text
    app.test_client().get("/")


def in_stream(text: str, folder: Path) -> None:
    app.view_functions["page"] = lambda: Response(iter([text[:9], text[9:]]))
    assert app.test_client().get("/").text == text


def in_header(text: str, folder: Path) -> None:
    app.view_functions["page"] = lambda: ("", {"Location": text})
    app.test_client().get("/")


def in_command(text: str, folder: Path) -> None:
    CliRunner().invoke(click.Command("leak", callback=lambda: click.echo(text, err=True)))


def in_signal(text: str, folder: Path) -> None:
    settings_changed.send(app, settings=MessagingSettings(password=text), previous=None)


def in_file(text: str, folder: Path) -> None:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "crm.sqlite-wal").write_bytes(b"\0\1" + text.encode())


LEAKS = [in_log, in_extra, in_variables, in_response, in_stream, in_header, in_command, in_file]
SPELLINGS = {
    "raw": lambda secret: secret,
    "AUTH PLAIN": lambda secret: base64.b64encode(f"\0crm\0{secret}".encode()).decode(),
    "AUTH PLAIN of ada": lambda secret: base64.b64encode(f"\0ad\0{secret}".encode()).decode(),
    "AUTH LOGIN": lambda secret: base64.b64encode(secret.encode()).decode(),
}


@contextlib.contextmanager
def serving() -> Iterator[None]:
    if "page" not in app.view_functions:
        app.add_url_rule("/", "page", str)
    yield


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_t11_every_leak_is_seen(watch: Watch, tmp_path: Path, leak: Any, spelling: str) -> None:
    """In logs, tracebacks, answers, output and files; raw and as it is said to a server."""
    with serving(), watch.everywhere():
        leak(SPELLINGS[spelling](f"{OTHER}-hunter2"), tmp_path)
    watch.files(tmp_path)
    assert watch.found
    proved("T11", "the watch sees {} kinds of leaks × spellings; it is on in every test")


def test_t11_what_a_token_service_heard_is_seen(watch: Watch) -> None:
    """Assertions and verifiers have no canary in them, and neither has a private key."""
    learn("eyJhbGciOiJub25lIn0.e30.a-signature-that-nobody-can-guess-by-chance")
    learn("MIIE a key\nin lines\nof=")
    for text in ("e30.a-signature-that-nobody-can-guess-by-chance", "of=", "MIIEakeyinlinesof="):
        watch.look(text, text)
    assert len(watch.found) == 2


def test_t11_a_signal_that_carries_it_is_seen(watch: Watch, tmp_path: Path) -> None:
    """Although a secret shows nothing of itself."""
    with watch.everywhere():
        in_signal(OTHER, tmp_path)
    assert watch.found == ["the password is in what settings_changed tells"]


def test_t11_what_is_printed_is_looked_at(watch: Watch) -> None:
    """As pytest captured it; what it captured of the log was looked at record by record."""
    watch.output([("Captured stdout call", f"a {OTHER}"), ("Captured log call", OTHER)])
    assert len(watch.found) == 1


def test_t11_the_wire_is_not_a_leak(watch: Watch, tmp_path: Path) -> None:
    """What a server of the tests heard, and what a test knows itself, is no finding."""
    with watch.everywhere():
        logging.getLogger("mail.log").debug("<< AUTH %s", OTHER)
        in_variables(PASSWORD[::-1], tmp_path)
        try:
            raise ValueError("no")
        except ValueError:
            password = OTHER
            logging.getLogger("anybody").exception("failed")
    assert password
    assert watch.found == []


def test_t16_control_characters_in_a_record_of_ours_are_seen() -> None:
    """One record is one line, in every test."""
    watch = Watch(OTHER, ours="ours")
    with watch.everywhere():
        logging.getLogger("ours.too").info("said %s", "a\nb")
        logging.getLogger("anybody").info("said %s", "a\nb")
    assert len(watch.found) == 1
