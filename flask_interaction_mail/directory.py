"""The host's people: what a host tells the extension, and what happens when it tells rubbish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from .values import Party

log = logging.getLogger("flask_interaction_mail")


class Directory:
    """Base class for the host's people; override what you have, the rest answers "nobody".

    The methods run inside an app context, without autoflush of ``db.session``. One that raises
    or returns something else than it should is logged by name and counts as no answer.
    """

    def current_user(self) -> Party | None:
        """The user on whose behalf the code now runs, or None (nobody is logged in, a job)."""
        return None

    def merge_recipients(self, location: str) -> Sequence[Party]:
        """Who may merge all duplicates at ``location``, best first: groups, or a folder owner."""
        return ()

    def folder_owners(self, location: str) -> Sequence[Party]:
        """Who owns ``location``; told when contacts there were merged."""
        return ()

    def locations(self) -> Iterable[str]:
        """Every location, for *Explain* and *Coverage*."""
        return ()

    def parties(self) -> Iterable[Party]:
        """Every user and group, for *Coverage* and the preview of a new company domain."""
        return ()


class People:
    """A ``Directory`` that always answers: the host's, guarded."""

    def __init__(
        self,
        directory: Directory | None,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._directory = directory if directory is not None else Directory()
        self._guard = guard  # entered around every call: no autoflush

    def current_user(self) -> Party | None:
        answer = self._ask("current_user")
        if answer is None or isinstance(answer, Party):
            return answer
        self._rubbish("current_user", answer, "a Party or None")
        return None

    def merge_recipients(self, location: str) -> tuple[Party, ...]:
        return self._parties("merge_recipients", location)

    def folder_owners(self, location: str) -> tuple[Party, ...]:
        return self._parties("folder_owners", location)

    def parties(self) -> tuple[Party, ...]:
        return self._parties("parties")

    def locations(self) -> tuple[str, ...]:
        return tuple(item for item in self._sequence("locations") if isinstance(item, str))

    def _parties(self, method: str, *args: str) -> tuple[Party, ...]:
        items = self._sequence(method, *args)
        parties = tuple(item for item in items if isinstance(item, Party))
        if len(parties) != len(items):
            self._rubbish(method, items, "only Party values")
        return parties

    def _sequence(self, method: str, *args: str) -> tuple[object, ...]:
        answer = self._ask(method, *args)
        if isinstance(answer, Iterable) and not isinstance(answer, str | bytes):
            try:
                with self._guard():
                    return tuple(answer)  # may be a generator of the host, which may raise
            except Exception:
                log.exception("directory.failed: Directory.%s raised; no answer assumed", method)
                return ()
        self._rubbish(method, answer, "a sequence")
        return ()

    def _ask(self, method: str, *args: str) -> object:
        try:
            with self._guard():
                answer: object = getattr(self._directory, method)(*args)
                return answer
        except Exception:
            log.exception("directory.failed: Directory.%s raised; no answer assumed", method)
            return () if method != "current_user" else None

    def _rubbish(self, method: str, answer: object, expected: str) -> None:
        log.error(
            "directory.rubbish: Directory.%s answered %s; expected %s",
            method,
            type(answer).__name__,
            expected,
        )
