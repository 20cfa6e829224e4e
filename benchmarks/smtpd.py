"""A small mail server that throws everything away and tells when something came.

    python -m benchmarks.smtpd PORT [CERTIFICATE]

With a certificate (and key, one PEM file) every connection is encrypted from the start. On
standard output it writes a line for each connection and each MAIL, with the time of
``time.monotonic``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time

_ANSWERS = {
    b"EHLO": b"250-bench.firm.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


def _tell(event: str) -> None:
    print(f"{time.monotonic():.6f} {event}", flush=True)


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _tell("connection")
    writer.write(b"220 bench.firm.example ESMTP\r\n")
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"MAIL":
                _tell("MAIL")
            writer.write(_ANSWERS.get(verb, b"250 ok\r\n"))
            if verb == b"DATA":
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 thrown away\r\n")
            if verb == b"QUIT":
                break
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _serve(port: int, certificate: str | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    serving = await asyncio.start_server(_talk, "127.0.0.1", port, ssl=context, limit=2**20)
    async with serving:
        await serving.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
