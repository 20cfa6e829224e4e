"""A web server on loopback, in threads, that answers requests as a test wants."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]  # the request, and its body


@contextmanager
def answering(
    answer: Answer,
    stopping: threading.Event,
    tls: ssl.SSLContext | None = None,
    protocol: str = "HTTP/1.0",
) -> Iterator[int]:
    """Run one, and give its port; ``stopping`` is set when the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"] or 0)))

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Nothing: tests look at what was asked."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """Nothing: a client may go away."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
