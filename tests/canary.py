"""The canary: what every SMTP password of the tests begins with, and the watch over it (T11).

A test may hand the password to the extension, and a server of the tests may get it: the wire is
what it is for. So servers' memories and aiosmtpd's log of what it heard are not looked at, nor
are the tests' own variables; everything else that comes out of a test is.
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug.test import Client
from werkzeug.wsgi import ClosingIterator

from flask_interaction_mail.settings.model import SECRETS
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.signals import settings_changed
from tests.passwords import PASSWORD as PASSWORD
from tests.passwords import STEM as STEM

TESTS = str(Path(__file__).parent)
GIVEN = "given"
SERVERS = ("mail.log", "mail.debug")  # aiosmtpd's: what it was told over the wire
# What could end a line of a log, or move the cursor of who reads it (T16).
_EFFECT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


# Secrets that no canary fits into: private keys, and what is made with them; the last one last.
_learned: dict[bytes, None] = {}
_MOST = 200


def learn(secret: str) -> None:
    """Have the watch look for the end of ``secret``, too: where only chance could repeat it."""
    end = "".join(secret.split())[-40:].encode()
    _learned.pop(end, None)
    _learned[end] = None
    if len(_learned) > _MOST:
        del _learned[next(iter(_learned))]


def spellings(stem: str) -> tuple[bytes, ...]:
    """``stem`` as it is, and what of its base64 does not depend on what stands around it."""
    data = stem.encode()
    found = [data]
    for lead in range(3):
        coded = base64.b64encode(bytes(lead) + data)
        found.append(coded[-(-lead * 8 // 6) : (lead + len(data)) * 8 // 6])
    return tuple(found)


class Watch(logging.Handler):
    """Looks for the canary wherever it could come out; ``found`` tells where it did."""

    def __init__(self, stem: str = STEM, ours: str = "flask_interaction_mail") -> None:
        super().__init__(logging.NOTSET)
        self.found: list[str] = []
        self._stem = stem
        self._ours = ours
        self._spellings = spellings(stem)

    def look(self, where: str, what: str | bytes) -> None:
        """Look into a text or into bytes."""
        data = what.encode("utf-8", "surrogatepass") if isinstance(what, str) else what
        if any(spelling in data for spelling in self._spellings):
            self.found.append(f"the password is in {where}")
        if any(secret in data for secret in tuple(_learned)):
            self.found.append(f"a secret is in {where}")

    def emit(self, record: logging.LogRecord) -> None:
        """Look into a log record, and into the variables of the traceback that it brings."""
        if record.name in SERVERS:
            return
        said = record.getMessage()
        self.look(f"a record of {record.name}: {record.msg}", f"{said} {record.__dict__}")
        if record.name.startswith(self._ours) and _EFFECT.search(said):
            self.found.append(f"a record has control characters: {said!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self.look(f"the traceback of {record.msg}", _with_variables(record.exc_info[1]))

    def files(self, folder: Path) -> None:
        """Look into every file below ``folder``: databases, their journals, logs.

        What a test hands to the extension in a file stands in a folder ``GIVEN``.
        """
        for path in folder.rglob("*"):
            if path.is_file() and path.parent.name != GIVEN:
                self.look(f"the file {path.name}", path.read_bytes())

    def output(self, sections: Iterable[tuple[str, str]]) -> None:
        """Look into what a test wrote to the terminal, as pytest captured it."""
        for title, text in sections:
            if "stdout" in title or "stderr" in title:
                self.look(title, text)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Watch logs, answers to test clients, output of commands, and ``settings_changed``."""
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            self._answers(patch)
            self._commands(patch)
            stack.enter_context(settings_changed.connected_to(self._settings))
            logging.getLogger().addHandler(self)
            stack.callback(logging.getLogger().removeHandler, self)
            yield

    def _settings(self, sender: Any, **told: Any) -> None:
        secrets = [getattr(value, name, None) for value in told.values() for name in SECRETS]
        revealed = [one.reveal() for one in secrets if isinstance(one, Secret)]
        self.look("what settings_changed tells", f"{told} {revealed}")

    def _answers(self, patch: pytest.MonkeyPatch) -> None:
        run = Client.run_wsgi_app

        def watched(client: Client, *args: Any, **kwargs: Any) -> Any:
            pieces, status, headers = run(client, *args, **kwargs)
            self.look("a response's headers", str(headers))
            read: Iterable[bytes] = self._read_along(pieces)
            if isinstance(pieces, list) or "Content-Length" in headers:
                read = list(read)  # not streamed: looked at also where the test does not read it
            return ClosingIterator(read, getattr(pieces, "close", None)), status, headers

        patch.setattr(Client, "run_wsgi_app", watched)

    def _read_along(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        before = b""
        for piece in pieces:
            self.look("a response", before + piece)
            before = piece[-len(self._stem) * 2 :]
            yield piece

    def _commands(self, patch: pytest.MonkeyPatch) -> None:
        invoke = CliRunner.invoke

        def watched(runner: CliRunner, *args: Any, **kwargs: Any) -> Result:
            result = invoke(runner, *args, **kwargs)
            self.look("the output of a command", result.stdout_bytes + (result.stderr_bytes or b""))
            return result

        patch.setattr(CliRunner, "invoke", watched)


def _with_variables(error: BaseException) -> str:
    """The traceback of ``error`` with all variables but those of the tests' own functions."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    at: traceback.TracebackException | None = shown
    while at is not None:
        for frame in at.stack:
            if frame.filename.startswith(TESTS):
                frame.locals = None
        at = at.__cause__ or at.__context__
    return "".join(shown.format())
