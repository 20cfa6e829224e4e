"""``python -m tests.crash.mailing URL COUNT``: a mailing that tells of each batch it has stored."""

from __future__ import annotations

import sys

from flask_interaction_mail import Party, Sent, send_each
from tests.host import Host


def main(url: str, count: int) -> None:
    host = Host(url)

    def tell(sent: Sent) -> None:
        sys.stdout.write(f"{sent.queued + sent.known}\n")
        sys.stdout.flush()

    people = (Party(f"Person {number}", f"p{number}", id=number) for number in range(count))
    with host.app.app_context():
        send_each(people, "News", text="Hello", key="news", batch=20, progress=tell)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
