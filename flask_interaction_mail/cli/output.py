"""What all commands share: errors as sentences, tables, JSON, and who is at the terminal."""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from ..clock import as_text
from ..errors import InteractionMailError, SettingsError
from ..storage.database import is_away
from ..text import one_line

Function = TypeVar("Function", bound=Callable[..., Any])

as_json: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON for a program.")


class Commands(AppGroup):
    """A group whose commands report what went wrong as a sentence, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(_fields(error)) from error
        except InteractionMailError as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            if is_away(error):
                raise click.ClickException(f"The database does not answer: {error.orig}") from error
            raise click.ClickException(
                f"The database refuses this: {error.orig}\n"
                "'flask interaction-mail doctor' looks for the reason."
            ) from error


class Main(Commands):
    """The group of all commands; the module of each adds it, and is imported when it is called.

    So a web process registers them without paying for them, and a worker lives on without what
    the others need.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as in the base class
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _MODULES:
            importlib.import_module(f"{__package__}.{_MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)


_MODULES: Final = {
    "activity": "activity",
    "addresses": "addresses",
    "alert": "alert",
    "bounces": "bounces",
    "catch": "catch",
    "db": "tables",
    "doctor": "doctor",
    "domain": "domain",
    "explain": "test",
    "outbox": "outbox",
    "preview": "preview",
    "relays": "relays",
    "rotate-keys": "settings",
    "settings": "settings",
    "status": "status",
    "test": "test",
    "worker": "worker",
}
main: Final = Main("interaction-mail", help="E-mail: settings, tests, outbox and delivery.")


def _fields(error: SettingsError) -> str:
    lines = [f"{field}: {text}" for field, text in error.errors.items()]
    return lines[0] if len(lines) == 1 else "\n  ".join(["nothing was done.", *lines])


def fail(text: str) -> NoReturn:
    """End the command with exit status 1 and ``text`` on standard error."""
    raise click.ClickException(text)


def operator() -> str:
    """Who gives the command, for the history."""
    import getpass  # late: it brings the terminal's driver, which a web process has no use for

    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container's user may have no name
        return "command line"


def say(text: str) -> None:
    """One line on standard output."""
    click.echo(text)


def warn(text: str) -> None:
    """One line on standard error, for what happened all the same."""
    click.echo(f"Note: {text}", err=True)


def dump(value: object) -> None:
    """``value`` as JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns under ``header``; nothing that a stranger wrote can move the cursor."""
    lines = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other."""
    rows = [(f"{name}:", value) for name, value in rows]
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{name.ljust(width)}  {_cell(value)}".rstrip())


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return as_text(value)
        case tuple() | list():
            return ", ".join(map(_cell, value)) or "-"
        case _:
            return one_line(str(value)) or "-"


if TYPE_CHECKING:
    _ParamType = click.ParamType[uuid.UUID]
else:
    _ParamType = click.ParamType  # generic since 8.4


class MessageId(_ParamType):
    """The id of a message, as ``outbox list`` shows it."""

    name = "id"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> uuid.UUID:
        try:
            return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
        except ValueError:
            self.fail(f"{value!r} is no id of a message; 'outbox list' shows them.", param, ctx)
