"""The host's people: the class that a host overrides, and the guard around its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from .logs import log
from .values import Party


class Directory:
    """Base class for the host's people. Override what you have; the rest answers "nobody".

    The methods run in an app context, without autoflush of ``db.session``. If one raises, or
    returns anything else than it should, that is logged by name and counts as no answer.
    """

    def current_user(self) -> Party | None:
        """The user for whom the code is running; None if nobody is logged in, or in a job."""
        return None

    def merge_recipients(self, location: str) -> Sequence[Party]:
        """Who may merge all duplicates at ``location``, best first: groups, or a folder owner."""
        return ()

    def folder_owners(self, location: str) -> Sequence[Party]:
        """The owners of ``location``, who are told when contacts there were merged."""
        return ()

    def locations(self) -> Iterable[str]:
        """Every location of contacts; not asked for by this version."""
        return ()

    def parties(self) -> Iterable[Party]:
        """Every user and group; ``explain --requester`` looks a user up among them."""
        return ()


class People:
    """The host's ``Directory``, guarded so that it always answers and never raises."""

    def __init__(
        self,
        directory: Directory | None,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._directory = directory if directory is not None else Directory()
        self._guard = guard  # entered around every call; prevents autoflush

    def current_user(self) -> Party | None:
        # As it is: a proxy, as Flask-Login's, can always be iterated over.
        answer = self._ask("current_user", read=lambda answer: answer, otherwise=None)
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

    def _parties(self, method: str, *args: str) -> tuple[Party, ...]:
        answer = self._ask(method, *args, read=_listed, otherwise=())
        if not isinstance(answer, tuple):
            self._rubbish(method, answer, "a sequence")
            return ()
        parties = tuple(item for item in answer if isinstance(item, Party))
        if len(parties) != len(answer):
            self._rubbish(method, answer, "only Party values")
        return parties

    def _ask(
        self, method: str, *args: str, read: Callable[[object], object], otherwise: object
    ) -> object:
        """What ``read`` makes of the answer of ``method``; ``otherwise`` if one of them raises."""
        try:
            with self._guard():
                return read(getattr(self._directory, method)(*args))
        except Exception:
            log.exception("directory.failed: Directory.%s raised; no answer assumed", method)
            return otherwise

    def _rubbish(self, method: str, answer: object, expected: str) -> None:
        log.error(
            "directory.rubbish: Directory.%s answered %s; expected %s",
            method,
            type(answer).__name__,
            expected,
        )


def _listed(answer: object) -> object:
    """Make a tuple of what can be iterated over; a generator of the host may raise."""
    if isinstance(answer, Iterable) and not isinstance(answer, str | bytes):
        return tuple(answer)
    return answer
