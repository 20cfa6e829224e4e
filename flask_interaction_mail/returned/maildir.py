"""A maildir with returned mail in it: read, and what was noted moved out of the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import InteractionMailError
from .reading import LIMIT

NOTED: Final = ".Returned"  # the subfolder for what was noted, as Dovecot and Courier name one
_WITH_MAIL: Final = ("new", "cur")


class Found(NamedTuple):
    """A message in the maildir, with as much of its content as is read."""

    path: Path
    content: bytes


def check(maildir: Path) -> None:
    """See that ``maildir`` is one.

    Raises:
        InteractionMailError: it is not, or may not be read.
    """
    try:
        if all((maildir / name).is_dir() for name in (*_WITH_MAIL, "tmp")):
            return
    except OSError as error:
        raise InteractionMailError(f"{maildir} cannot be read: {error.strerror}.") from error
    raise InteractionMailError(f"{maildir} is no maildir: it needs the folders new, cur and tmp.")


def messages(maildir: Path) -> Iterator[Found | Path]:
    """The messages of ``maildir``, oldest names first; the path alone of what cannot be read.

    One that goes away meanwhile is left out: another process has moved it.
    """
    for path in sorted(path for name in _WITH_MAIL for path in (maildir / name).iterdir()):
        try:
            if path.is_file():
                with path.open("rb") as file:
                    yield Found(path, file.read(LIMIT))
        except FileNotFoundError:
            continue
        except OSError:
            yield path


def put_away(maildir: Path, path: Path) -> None:
    """Move a message that was noted to the subfolder, as one that was seen.

    Raises:
        OSError: it could not be moved. It is noted, so that it is left out the next time.
    """
    folder = maildir / NOTED
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "maildirfolder").touch(mode=0o600)  # what Courier's and Exim's tools look for
    name, _, flags = path.name.partition(":2,")
    with suppress(FileNotFoundError):  # another process was faster
        path.rename(folder / "cur" / f"{name}:2,{''.join(sorted({*flags, 'S'}))}")
