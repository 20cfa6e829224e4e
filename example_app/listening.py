"""Serve an application in a thread, for the demo and for tests with a real browser."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import make_server

from .story import StoryError

HOST = "127.0.0.1"


@contextmanager
def serving(app: Flask, ports: Sequence[int] = (0,)) -> Iterator[str]:
    """Serve ``app`` on the first free one of ``ports`` (0: any) and return its URL."""
    with _listen(ports) as listener:
        server = make_server(HOST, 0, app, threaded=True, fd=listener.fileno())
        port = listener.getsockname()[1]
    thread = threading.Thread(target=server.serve_forever, name="site")
    thread.start()
    try:
        yield f"http://{HOST}:{port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listen(ports: Sequence[int]) -> socket.socket:
    # Werkzeug would end the process where a port is taken; a socket of our own raises.
    for port in ports:
        try:
            return socket.create_server((HOST, port))
        except (OSError, OverflowError):
            continue
    raise StoryError(f"port {ports[0]} cannot be used; choose another one with --port")
