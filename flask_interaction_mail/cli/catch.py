"""``catch``: a mail server on this machine, with a page that shows what it has got."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from werkzeug.serving import make_server

from ..catcher.inbox import Inbox
from ..catcher.pages import inbox_application
from ..catcher.server import Catcher
from .output import fail, main, say
from .worker import until_signalled

_HOST = "127.0.0.1"
_PORTS = click.IntRange(0, 65535)


@main.command()
@click.option("--port", type=_PORTS, default=8025, show_default=True, help="Where mail is taken.")
@click.option(
    "--page-port", type=_PORTS, default=8026, show_default=True, help="Where the page is shown."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep mail there, instead of until the end.",
)
def catch(port: int, page_port: int, folder: Path | None) -> None:
    """Take mail instead of a server, and show it on a page, until Ctrl-C or SIGTERM.

    Nothing leaves this machine, and nobody else can connect. A port of 0 is a free one.
    """
    try:
        with _folder(folder) as kept, Catcher(Inbox(kept), port=port) as catcher:
            _show(catcher, page_port)
    except (ImportError, OSError) as error:
        fail(f"Cannot catch mail: {error}")


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="caught-mail-") as folder:
        yield Path(folder)


def _show(catcher: Catcher, port: int) -> None:
    server = make_server(_HOST, port, inbox_application(catcher.inbox), threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="caught-mail-page")
    with until_signalled() as (stop, _):
        thread.start()
        say(f"Set the server {_HOST}, port {catcher.port}, without encryption and login.")
        say(f"What it gets is shown on http://{_HOST}:{server.port}/inbox/ until Ctrl-C.")
        stop.wait()
    server.shutdown()
    thread.join()
    server.server_close()
