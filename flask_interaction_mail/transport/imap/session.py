"""One connection to a mailbox: log in, look at what is there, move what was noted.

No library does this here: Python's ``imaplib``, and what is built on it, keep the whole answer to a
command in memory, read literals of any size, and look the name up themselves, so that no rule for
connections can hold them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ...errors import TransportError
from ...language import mark, said_by
from ...outcome import Fault, Stage
from ...settings.mailbox import Mailbox
from ...settings.relay import Encryption, Relay
from ...settings.secret import Secret
from ..policy import ConnectPolicy
from ..smtp import auth, tls
from ..smtp.connect import connected, resolve, unconnected
from ..smtp.replies import safe_text
from ..smtp.stream import StreamError
from ..smtp.timeouts import Until
from ..tokens import Tokens
from . import answers
from .answers import Found, Status
from .stream import ImapStream

_CONNECT: Final = 30.0  # s: name service and all addresses together
_STEP: Final = 60.0  # s for each command and its answer
_LOGOUT: Final = 2.0
_MOST_ANSWERS: Final = 100_000  # to one command
# Codes (RFC 5530) with which a refusal may be over later, or says something else.
_LATER: Final = ("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG")
_REFUSED: Final = {
    "PRIVACYREQUIRED": Fault.ENCRYPTION_REQUIRED,
    "CONTACTADMIN": Fault.AUTH_ACCOUNT_DISABLED,
    "EXPIRED": Fault.AUTH_ACCOUNT_DISABLED,
}


class Folder(NamedTuple):
    """An open folder: how many messages it has, and what its UIDs count for (RFC 3501 §2.3.1)."""

    messages: int
    uid_validity: int


@dataclass(slots=True, kw_only=True)
class ImapSession:
    """A connection to ``mailbox``; each step raises TransportError.

    ``until`` limits all steps together. ``tokens`` is where the access token comes from, if one
    is needed. ``limit`` is how many bytes of a message are fetched.
    """

    mailbox: Mailbox
    limit: int
    policy: ConnectPolicy
    tokens: Tokens | None = None
    until: Until
    _stream: ImapStream | None = None
    _offered: frozenset[str] = frozenset()
    _number: int = 0

    def __enter__(self) -> ImapSession:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TransportError):
            self.until = self.until.step(_LOGOUT)
            self._ask(b"LOGOUT", Stage.ACCEPTED)
        self._close()

    def open(self, folder: str, *, read_only: bool) -> Folder:
        """Open ``folder``; ``read_only`` changes nothing in it, not even what is recent."""
        command = b"EXAMINE " if read_only else b"SELECT "
        messages, validity = 0, 0

        def hear(pieces: list[bytes]) -> None:
            nonlocal messages, validity
            text = pieces[0].decode("ascii", "replace")
            count, _, word = text.partition(" ")
            if word.strip().upper() == "EXISTS" and count.isdigit():
                messages = int(count)
            told = answers.status(text)
            if told.code == "UIDVALIDITY" and told.argument.isdigit():
                validity = int(told.argument)

        said = self._ask(command + answers.quoted(folder), Stage.CONTENT, hear)
        if not said.ok:
            raise TransportError(
                mark("The folder cannot be opened: %(reply)s", reply=_safe(said)),
                stage=Stage.CONTENT,
                transient=said.code in _LATER,
                fault=Fault.FOLDER_MISSING,
            )
        return Folder(messages, validity)

    def uids_from(self, first: int) -> list[int]:
        """The UIDs of all messages from ``first`` on, ascending."""
        uids: set[int] = set()

        def hear(pieces: list[bytes]) -> None:
            word, *numbers = pieces[0].split()
            if word.upper() == b"SEARCH":
                uids.update(int(number) for number in numbers if number.isdigit())

        # The last message is found by "*" even if its UID is smaller (RFC 3501 §6.4.8).
        self._done(b"UID SEARCH UID %d:*" % first, hear)
        return sorted(uid for uid in uids if first <= uid < 2**32)

    def look(self, uids: Sequence[int]) -> list[Found]:
        """What kind of message each of ``uids`` is, without its text; what is gone is left out."""
        seen: list[Found] = []

        def hear(pieces: list[bytes]) -> None:
            with contextlib.suppress(ValueError):
                if (one := answers.found(answers.fetched(pieces))) is not None:
                    seen.append(one)

        what = f"UID BODYSTRUCTURE ENVELOPE {answers.THREAD}"
        self._done(f"UID FETCH {answers.uid_set(uids)} ({what})".encode("ascii"), hear)
        wanted = {*uids}
        return [one for one in seen if one.uid in wanted]

    def content(self, uid: int) -> bytes | None:
        """The first bytes of message ``uid``, up to ``limit``, unseen as before; None if gone."""
        contents: list[bytes] = []

        def hear(pieces: list[bytes]) -> None:
            with contextlib.suppress(ValueError):
                items = answers.fetched(pieces)
                if items.get("UID") == str(uid):
                    texts = (v for name, v in items.items() if name.startswith("BODY["))
                    contents.extend(text for text in texts if isinstance(text, bytes))

        self._done(b"UID FETCH %d (UID BODY.PEEK[]<0.%d>)" % (uid, self.limit), hear)
        return contents[0][: self.limit] if contents else None

    @property
    def moves(self) -> bool:
        """Whether the server can move single messages."""
        return bool(self._offered & {"MOVE", "UIDPLUS"})

    def move(self, uids: Sequence[int], folder: str) -> Status:
        """Move ``uids`` to ``folder``, which is made if it is missing; gives the last answer.

        By MOVE (RFC 6851), or by a copy and the removal of exactly these (RFC 4315).
        """
        chosen = answers.uid_set(uids).encode("ascii")
        command = b"MOVE" if "MOVE" in self._offered else b"COPY"
        transfer = b"UID %s %s %s" % (command, chosen, answers.quoted(folder))
        said = self._ask(transfer, Stage.CONTENT)
        if said.word == "NO":  # servers should add TRYCREATE, and not all do
            made = self._ask(b"CREATE " + answers.quoted(folder), Stage.CONTENT)
            said = self._ask(transfer, Stage.CONTENT) if made.ok else said
        if said.ok and command == b"COPY":
            self._done(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % chosen)
            self._done(b"UID EXPUNGE " + chosen)
        return said

    # -- the way there ---------------------------------------------------------------

    def _open(self) -> None:
        self._connect()
        if self.mailbox.encryption is Encryption.TLS:
            self._encrypt()
        self._greet()
        self._look_around()
        if self.mailbox.encryption is Encryption.STARTTLS:
            self._start_tls()
        self._log_in()
        self._look_around()

    def _connect(self) -> None:
        mailbox, until = self.mailbox, self.until.step(_CONNECT)
        endpoints = resolve(mailbox.server, mailbox.port, self.policy, until)
        errors: list[OSError] = []
        for at, endpoint in enumerate(endpoints):
            share = until.left / (len(endpoints) - at)
            try:
                self._stream = ImapStream(connected(endpoint, until.step(share)))
                return
            except OSError as error:
                errors.append(error)
        raise unconnected(errors, mailbox.server, mailbox.port) from errors[-1]

    def _greet(self) -> None:
        pieces = self._wire.answer(Stage.GREETING, self.until.step(_STEP))
        text = _text(pieces)
        if not text.startswith("* "):
            raise _not_imap(text)
        said = answers.status(text[2:])
        if said.word != "OK":
            raise TransportError(
                mark("The server does not accept the connection: %(reply)s", reply=safe_text(text)),
                stage=Stage.GREETING,
                fault=Fault.GREETING_TRANSIENT,
            )

    def _start_tls(self) -> None:
        if "STARTTLS" not in self._offered:
            raise TransportError(
                mark("The server does not offer STARTTLS."),
                stage=Stage.ENCRYPTION,
                fault=Fault.STARTTLS_NOT_OFFERED,
            )
        said = self._ask(b"STARTTLS", Stage.ENCRYPTION)
        if not said.ok:
            raise TransportError(
                mark("The server refused STARTTLS: %(reply)s", reply=_safe(said)),
                stage=Stage.ENCRYPTION,
                fault=Fault.STARTTLS_REFUSED,
            )
        self._encrypt()
        self._look_around()  # what was said before the encryption does not count (RFC 3501 §6.2.1)

    def _encrypt(self) -> None:
        try:
            context = tls.context_for(self.mailbox.ca_certificate)
        except tls.CertificateUnreadable as error:
            raise TransportError(
                said_by(error), stage=Stage.ENCRYPTION, transient=False, fault=Fault.CA_UNREADABLE
            ) from error
        host = self.mailbox.server.strip("[]").rstrip(".")
        self._wire.encrypt(host, context, self.until.step(_STEP))

    def _look_around(self) -> None:
        offered: set[str] = set()

        def hear(pieces: list[bytes]) -> None:
            word, *names = pieces[0].decode("ascii", "replace").upper().split()
            if word == "CAPABILITY":
                offered.update(names)

        self._ask(b"CAPABILITY", Stage.GREETING, hear)
        self._offered = frozenset(offered)

    # -- login -----------------------------------------------------------------------

    def _log_in(self) -> None:
        if not (self._wire.encrypted or self.mailbox.allow_unencrypted_auth):
            text = mark(
                "The connection is not encrypted: the %(what)s would be readable on the network.",
                what=mark("password"),
            )
            raise _no_login(text, Fault.AUTH_UNENCRYPTED)
        if self.mailbox.relay is not None:
            self._by_token(self.mailbox.relay)
        else:
            self._by_password()

    def _by_password(self) -> None:
        login, secret = self.mailbox.login, self.mailbox.secret
        if not login:
            raise _no_login(mark("There is no login for the mailbox."), Fault.LOGIN_MISSING)
        if not secret:
            text = mark("There is no password for this server: enter it again.")
            raise _no_login(text, Fault.PASSWORD_MISSING)
        if "AUTH=PLAIN" in self._offered:
            said, _ = self._authenticate(
                "PLAIN", lambda: auth.plain_token(login, secret), lambda: b"*"
            )
        elif "LOGINDISABLED" in self._offered:
            text = mark("The server does not offer a login by password here.")
            raise _no_login(text, Fault.AUTH_NOT_OFFERED)
        else:
            said = self._plain_login(login, secret)
        if not said.ok:
            text = mark(
                "The server did not accept login and password: %(reply)s", reply=_safe(said)
            )
            raise _refusal(said, text, Fault.AUTH_REJECTED)

    def _plain_login(self, login: str, secret: Secret) -> Status:
        """LOGIN with literals, which take every character (RFC 3501 §6.2.3)."""

        def size(text: str) -> int:
            return len(text.encode("utf-8", "surrogatepass"))

        def last() -> bytes:
            return secret.reveal().encode("utf-8", "surrogatepass") + b"\r\n"

        first = login.encode("utf-8", "surrogatepass") + b" {%d}\r\n" % size(secret.reveal())
        steps = iter((lambda: first, last))
        command = b"LOGIN {%d}" % size(login)
        return self._ask(
            command, Stage.AUTHENTICATION, answer=lambda _: next(steps, lambda: b"*\r\n")
        )

    def _by_token(self, relay: Relay) -> None:
        """Show the token of ``relay``; if it is refused, a fresh one, if there is one."""
        if self.tokens is None:
            raise TransportError(
                mark("There is nothing here that gives an access token."),
                stage=Stage.TOKEN,
                transient=False,
                fault=Fault.TOKEN_FROM_HOST,
            )
        token = self.tokens.take(relay, self.until)
        said, reason = self._show(relay, token.secret)
        if not said.ok and said.code not in _LATER:
            self.tokens.drop(relay, token)
            fresh = self.tokens.take(relay, self.until)
            if fresh.secret != token.secret:
                said, reason = self._show(relay, fresh.secret)
        if not said.ok:
            told = f"{_safe(said)} ({reason})" if reason else _safe(said)
            text = mark("The IMAP server did not accept the access token: %(reply)s", reply=told)
            raise _refusal(said, text, Fault.OAUTH_REJECTED)

    def _show(self, relay: Relay, token: Secret) -> tuple[Status, str]:
        here = replace(relay, server=self.mailbox.server, port=self.mailbox.port)
        if "AUTH=XOAUTH2" in self._offered:
            name, initial, end = "XOAUTH2", auth.xoauth2, b""
        elif "AUTH=OAUTHBEARER" in self._offered:
            name, initial, end = "OAUTHBEARER", auth.oauthbearer, b"AQ=="
        else:
            text = mark("The IMAP server takes no access token: neither XOAUTH2 nor OAUTHBEARER.")
            raise _no_login(text, Fault.OAUTH_NOT_OFFERED)
        said, challenges = self._authenticate(name, lambda: initial(here, token), lambda: end)
        reason = auth.reason_in(challenges[-1]) if challenges and challenges[-1] else ""
        return said, "" if token.reveal() in reason else reason

    def _authenticate(
        self, mechanism: str, initial: Callable[[], bytes], after: Callable[[], bytes]
    ) -> tuple[Status, list[str]]:
        """AUTHENTICATE (RFC 3501 §6.2.2): ``initial``, then ``after`` to whatever else is asked."""
        challenges: list[str] = []

        def answer(challenge: str) -> Callable[[], bytes]:
            challenges.append(challenge)
            render = initial if len(challenges) == 1 else after
            return lambda: render() + b"\r\n"

        command = f"AUTHENTICATE {mechanism}".encode("ascii")
        said = self._ask(command, Stage.AUTHENTICATION, answer=answer)
        return said, challenges[1:]

    # -- commands --------------------------------------------------------------------

    @property
    def _wire(self) -> ImapStream:
        if self._stream is None:
            raise TransportError(
                mark("There is no connection."), stage=Stage.CONNECT, fault=Fault.LOST
            )
        return self._stream

    def _done(self, command: bytes, hear: Callable[[list[bytes]], None] | None = None) -> None:
        """Do ``command``, which has to succeed."""
        said = self._ask(command, Stage.CONTENT, hear)
        if not said.ok:
            raise TransportError(
                mark("The IMAP server refused a command: %(reply)s", reply=_safe(said)),
                stage=Stage.CONTENT,
                fault=Fault.NONSENSE,
            )

    def _ask(
        self,
        command: bytes,
        stage: Stage,
        hear: Callable[[list[bytes]], None] | None = None,
        *,
        answer: Callable[[str], Callable[[], bytes]] | None = None,
    ) -> Status:
        """Say ``command`` and read to its end; ``hear`` gets each untagged answer without its star.

        ``answer`` gives what is to be sent when the server asks, rendered only then.
        """
        self._number += 1
        tag = b"im%d" % self._number
        until = self.until.step(_STEP)
        self._wire.send(b"%s %s\r\n" % (tag, command), stage, until)
        for pieces in self._answers(stage, until):
            first = pieces[0]
            if first.startswith(b"* "):
                if first[2:5].upper() == b"BYE" and command != b"LOGOUT":
                    raise _gone(stage, first)
                if hear is not None and first[2:].strip():
                    hear([first[2:], *pieces[1:]])
            elif first.startswith(b"+") and answer is not None:
                challenge = first[1:].strip().decode("ascii", "replace")
                self._wire.send_secret(answer(challenge), "", until)
            elif first.startswith(tag + b" "):
                return answers.status(_text(pieces)[len(tag) + 1 :])
            else:
                raise _not_imap(_text(pieces))
        raise _not_imap("")

    def _answers(self, stage: Stage, until: Until) -> Iterator[list[bytes]]:
        for _ in range(_MOST_ANSWERS):
            pieces = self._wire.answer(stage, until)
            if pieces is not None:  # else larger than anything that is of use
                yield pieces

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _text(pieces: list[bytes] | None) -> str:
    return pieces[0].decode("utf-8", "replace") if pieces else ""


def _safe(said: Status) -> str:
    return safe_text(str(said))


def _refusal(said: Status, text: str, fault: Fault) -> TransportError:
    later = said.code in _LATER
    return TransportError(
        text,
        stage=Stage.AUTHENTICATION,
        transient=later,
        fault=Fault.AUTH_TRANSIENT if later else _REFUSED.get(said.code, fault),
    )


def _gone(stage: Stage, line: bytes) -> StreamError:
    text = mark("The server ended the connection: %(reply)s", reply=safe_text(line))
    return StreamError(stage, Fault.LOST, text)


def _not_imap(text: str) -> TransportError:
    return TransportError(
        mark("The answer is not that of an IMAP server: %(answer)s.", answer=repr(safe_text(text))),
        stage=Stage.GREETING,
        fault=Fault.NOT_IMAP,
    )


def _no_login(text: str, fault: Fault) -> TransportError:
    return TransportError(text, stage=Stage.AUTHENTICATION, transient=False, fault=fault)
