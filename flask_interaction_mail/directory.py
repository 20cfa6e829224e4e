"""The host's people: the class that a host overrides, and the guard around its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from .logs import log
from .values import Contact, Party

T = TypeVar("T")
FOUND: Final = 20  # that a search of the host is asked for


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
        """Every location of contacts, for the pages *Explain* and *Coverage*."""
        return ()

    def parties(self) -> Iterable[Party]:
        """Every user and group, for *Coverage* and ``explain --requester``.

        Where there are many, make it a generator: a page looks at the first ones only.
        """
        return ()

    def find_parties(self, text: str, limit: int = FOUND) -> Iterable[Party]:
        """Up to ``limit`` users and groups whose name, address or id ``text`` is or is in.

        Those whose id or address it is come first. *Explain* asks for it; without it a user is
        looked for among the first ``parties``.
        """
        return ()

    def find_contacts(self, text: str, limit: int = FOUND) -> Iterable[Contact]:
        """Up to ``limit`` contacts in whose name ``text`` is, for *Explain*."""
        return ()

    def contact(self, id: str) -> Contact | None:
        """The contact whose id has the text ``id``, None if there is none, for *Explain*."""
        return None


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
        return self._all(Party, "merge_recipients", location)

    def folder_owners(self, location: str) -> tuple[Party, ...]:
        return self._all(Party, "folder_owners", location)

    def locations(self, most: int) -> tuple[str, ...]:
        """The first ``most`` locations."""
        return self._all(str, "locations", most=most)

    def parties(self, most: int | None = None) -> tuple[Party, ...]:
        """All parties, or the first ``most``."""
        return self._all(Party, "parties", most=most)

    def find_parties(self, text: str) -> tuple[Party, ...]:
        return self._all(Party, "find_parties", text, FOUND, most=FOUND)

    def find_contacts(self, text: str) -> tuple[Contact, ...]:
        return self._all(Contact, "find_contacts", text, FOUND, most=FOUND)

    def contact(self, id: str) -> Contact | None:
        answer = self._ask("contact", id, read=lambda answer: answer, otherwise=None)
        if answer is None or isinstance(answer, Contact):
            return answer
        self._rubbish("contact", answer, "a Contact or None")
        return None

    def offers(self, method: str) -> bool:
        """Whether the host has written ``method``, instead of leaving it to the base class."""
        own = getattr(self._directory, method, None)
        return own is not None and getattr(own, "__func__", own) is not getattr(Directory, method)

    def _all(
        self, kind: type[T], method: str, *args: object, most: int | None = None
    ) -> tuple[T, ...]:
        """The first ``most`` values of the answer, those of another type left out."""
        answer = self._ask(method, *args, read=partial(_listed, most=most), otherwise=())
        if not isinstance(answer, tuple):
            self._rubbish(method, answer, "a sequence")
            return ()
        values = tuple(item for item in answer if isinstance(item, kind))
        if len(values) != len(answer):
            self._rubbish(method, answer, f"only {kind.__name__} values")
        return values

    def _ask(
        self, method: str, *args: object, read: Callable[[object], object], otherwise: object
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


def _listed(answer: object, most: int | None) -> object:
    """Make a tuple of what can be iterated over; a generator of the host may raise."""
    if isinstance(answer, Iterable) and not isinstance(answer, str | bytes):
        return tuple(islice(answer, most))
    return answer
