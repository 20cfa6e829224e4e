"""aiosmtpd that keeps what it gets: a server of the stand, and where the others relay to.

python -m tests.servers.stand.shelf PORT FILE [refusing]
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from . import letters, stored
from .letters import GONE


class Shelf:
    """Puts each message into a file; with ``refusing``, some recipients do not exist.

    Reports, which have no sender, go into the maildir ``returned`` instead.
    """

    def __init__(self, file: Path, *, refusing: bool) -> None:
        self.file, self.refusing = file, refusing
        self.returned = file.with_name("returned")
        for name in ("tmp", "new", "cur"):
            (self.returned / name).mkdir(parents=True, exist_ok=True)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith(GONE) or (self.refusing and letters.is_refused(address)):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        if envelope.mail_from in ("", "<>"):
            name = f"{time.time_ns()}.shelf"
            (self.returned / "tmp" / name).write_bytes(content.replace(b"\r\n", b"\n"))
            (self.returned / "tmp" / name).rename(self.returned / "new" / name)
            return "250 2.0.0 kept"
        stored.write(self.file, stored.stored(content, envelope.rcpt_tos))
        return "250 2.0.0 kept"


async def _serve(port: int, shelf: Shelf) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(shelf, enable_SMTPUTF8=True, hostname="shelf.test", loop=loop),
        "127.0.0.1",
        port,
        backlog=200,
    )
    await server.serve_forever()


if __name__ == "__main__":
    _port, _file, *_refusing = sys.argv[1:]
    asyncio.run(_serve(int(_port), Shelf(Path(_file), refusing=bool(_refusing))))
