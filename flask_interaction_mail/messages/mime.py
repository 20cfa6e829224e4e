"""The content of a message: header fields and bodies as bytes (RFC 5322, RFC 2045 to 2049).

Pure: identifiers and the date are arguments, so the same intent gives the same bytes. The body is
a tree of parts, in which a multipart of one part is that part::

    mixed
    ├─ alternative
    │  ├─ text/plain, and other texts except calendars
    │  ├─ related: text/html, and the pictures that it shows (RFC 2387)
    │  └─ text/calendar (RFC 6047)
    └─ files
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from ..addresses import Mailbox, check_line
from ..errors import ContentError
from . import encoding, headers
from .attachments import checked, checked_alternative, is_message, type_of
from .intent import Attachment, Intent
from .route import SenderHeaders

Part = tuple[str, str]  # header and body, with the line ends of RFC 5322


class Frame(NamedTuple):
    """A message without its To and its Message-ID: the text ahead of, between and behind them."""

    ahead: str
    between: str
    behind: str


_BODY_END = re.compile("</body", re.IGNORECASE)
_CID = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)  # RFC 2392
_CALENDAR = "text/calendar"


def make_message_id(unique: object, domain: str) -> str:
    """A Message-ID of what is ``unique``, angle brackets included (RFC 5322 §3.6.4)."""
    return f"<{unique}@{domain}>"


def build(
    intent: Intent,
    *,
    sender: SenderHeaders,
    to: Sequence[Mailbox],
    cc: Sequence[Mailbox] = (),
    message_id: str,
    date: datetime,
) -> bytes:
    """The content of the message for DATA, before dot-stuffing: CRLF line ends, seven bits.

    Blind copies are not mentioned, and no header holds an address that needs SMTPUTF8.

    Raises:
        HeaderError: a subject, name or header field may not be sent.
        ContentError: a text cannot be encoded.
    """
    body = body_of(intent, sender)
    return framed(frame_of(intent, sender=sender, cc=cc, date=date, body=body), to, message_id)


def frame_of(
    intent: Intent,
    *,
    sender: SenderHeaders,
    cc: Sequence[Mailbox] = (),
    date: datetime,
    body: Part,
) -> Frame:
    """What ``intent`` says to each of its readers; ``body`` is that of ``body_of``."""
    body_header, lines = body
    written = _date(date.isoformat(timespec="seconds"))
    copies, others = _mailboxes("Cc", cc) if cc else "", "".join(_others(intent))
    return Frame(
        ahead=f"{body_header}{written}{_from(sender.from_, sender.sender, sender.reply_to)}",
        between=f"{copies}{_subject(intent.subject)}",
        behind=f"{_quiet(intent)}{_thread(intent.in_reply_to)}{others}\r\n{lines}",
    )


def framed(frame: Frame, to: Sequence[Mailbox], message_id: str) -> bytes:
    """The message in ``frame`` for ``to``; raises HeaderError."""
    readers, named = _mailboxes("To", to) or _UNDISCLOSED, _field("Message-ID", message_id)
    return f"{frame.ahead}{readers}{frame.between}{named}{frame.behind}".encode()


def body_of(intent: Intent, sender: SenderHeaders) -> Part:
    """The body of ``intent``, which names ``sender`` if need be; raises what ``tree`` raises."""
    return tree(_naming(intent, sender.in_text))


def _naming(intent: Intent, mailboxes: Iterable[tuple[str, Mailbox]]) -> Intent:
    """``intent`` with each of ``mailboxes`` added to the texts that do not have its address."""
    for field, mailbox in mailboxes:
        line, text, marked_up = f"{field}: {mailbox}", intent.text, intent.html
        if (text is not None or marked_up is None) and mailbox.address not in (text or ""):
            text = f"{text.rstrip()}\n\n{line}\n" if text else f"{line}\n"
        if marked_up is not None and html.escape(mailbox.address) not in marked_up:
            ends = [found.start() for found in _BODY_END.finditer(marked_up)]
            at = ends[-1] if ends else len(marked_up)
            marked_up = f"{marked_up[:at]}<p>{html.escape(line)}</p>{marked_up[at:]}"
        intent = intent._replace(text=text, html=marked_up)
    return intent


def _field(name: str, value: str) -> str:
    # The last line of defence: lines may end only where this package folded them.
    check_line(name, value.replace("\r\n ", ""))
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1)
def _date(iso: str) -> str:
    # Cached by text, since the same instant in another zone is equal but written differently.
    return _field("Date", format_datetime(datetime.fromisoformat(iso)))


@lru_cache(maxsize=8)
def _from(from_: Mailbox, sender: Mailbox | None, reply_to: tuple[Mailbox, ...]) -> str:
    return (
        _mailboxes("From", (from_,))
        + _mailboxes("Sender", (sender,) if sender else ())
        + _mailboxes("Reply-To", reply_to)
    )


@lru_cache(maxsize=8)
def _subject(subject: str) -> str:
    check_line("The subject", subject)
    return _field("Subject", encoding.unstructured("Subject", subject))


def _quiet(intent: Intent) -> str:
    """The fields that keep automatic answers away (RFC 3834 §5), unless the caller has set them."""
    own = {name.lower(): value for name, value in intent.headers}
    if not own:
        return _QUIET
    automatic = _field("Auto-Submitted", own.get("auto-submitted", "auto-generated"))
    return automatic + ("" if "x-auto-response-suppress" in own else _SUPPRESS)


# Not "All", which would also suppress reports of dead mailboxes (MS-OXCMAIL 2.1.3.2.20).
_SUPPRESS = _field("X-Auto-Response-Suppress", "OOF, AutoReply")
_QUIET = _field("Auto-Submitted", "auto-generated") + _SUPPRESS
# An empty group, for a message of which only copies are sent (RFC 5322 §3.4, appendix A.1.3).
_UNDISCLOSED = _field("To", "undisclosed-recipients:;")


def _mailboxes(name: str, values: Sequence[Mailbox]) -> str:
    for mailbox in values:
        check_line(name, mailbox.name)
        check_line(name, mailbox.address)
    return _field(name, encoding.mailboxes(name, values)) if values else ""


def _thread(in_reply_to: str | None) -> str:
    if not in_reply_to:
        return ""
    return _field("In-Reply-To", in_reply_to) + _field("References", in_reply_to)


def _others(intent: Intent) -> Iterator[str]:
    for name, value in intent.headers:
        if name.lower() == "auto-submitted" and intent.source == "flask_mail":
            continue  # ``_quiet`` has written it; only Flask-Mail's callers can set it
        line = headers.check_header(name, value)
        if intent.in_reply_to and name.lower() in ("in-reply-to", "references"):
            continue  # ``_thread`` has written them; RFC 5322 §3.6 allows one of each
        formatted = headers.formatted(name, line)
        yield _field(name, encoding.unstructured(name, line) if formatted is None else formatted)


def tree(intent: Intent) -> Part:
    """The body of ``intent`` as one part.

    Raises:
        HeaderError: the type or the name of a part does not fit in a header.
        ContentError: a text cannot be encoded.
    """
    mark = _mark(intent.attachments)
    shown, files = _sorted_out(intent)
    content = _multipart("alternative", [*_alternatives(intent, shown, mark)], mark)
    return _multipart("mixed", (content, *map(_file, files)), mark)


def _sorted_out(intent: Intent) -> tuple[list[Attachment], list[Attachment]]:
    """The attachments that the HTML shows, and the others."""
    shown: list[Attachment] = []
    files: list[Attachment] = []
    markup = intent.html or ""
    named = markup and any(attached.headers for attached in intent.attachments)
    ids = {unquote(html.unescape(id)) for id in _CID.findall(markup)} if named else set()
    for attached in intent.attachments:
        (shown if _is_shown(attached, markup, ids) else files).append(attached)
    return shown, files


def _is_shown(attached: Attachment, markup: str, ids: set[str]) -> bool:
    given = {name.lower(): value.strip() for name, value in attached.headers}
    location = given.get("content-location")
    return given.get("content-id", "").strip("<>") in ids or bool(location and location in markup)


def _alternatives(intent: Intent, shown: Sequence[Attachment], mark: str) -> Iterator[Part]:
    """The plainest first, since programs show the last that they can (RFC 2046 §5.1.4)."""
    given = [checked_alternative(*alternative) for alternative in intent.alternatives]
    if intent.text is not None or (intent.html is None and not given):
        yield _text("text", intent.text or "", "text/plain")
    yield from (_text(kind, text, kind) for kind, text in given if not kind.startswith(_CALENDAR))
    if intent.html is not None:
        markup = _text("html", intent.html, "text/html")
        yield _multipart("related", (markup, *map(_file, shown)), mark)
    yield from (_text(kind, text, kind) for kind, text in given if kind.startswith(_CALENDAR))


def _multipart(subtype: str, parts: Sequence[Part], mark: str) -> Part:
    if len(parts) == 1:
        return parts[0]
    boundary = _boundary(subtype, mark)
    inner = [f"--{boundary}\r\n{header}\r\n{body}\r\n" for header, body in parts]
    return _multipart_header(subtype, mark), f"{''.join(inner)}--{boundary}--\r\n"


def _boundary(subtype: str, mark: str) -> str:
    # No encoded line holds its start, so the end only has to tell the multiparts from each other
    # (RFC 2046 §5.1.1).
    return f"{encoding.BOUNDARY_START}{mark}{subtype}"


def _mark(attachments: Sequence[Attachment]) -> str:
    """A number with which no boundary in an attached message begins; "" without such messages."""
    messages = [attached.data for attached in attachments if is_message(attached)]
    number = 0
    while any(f"{encoding.BOUNDARY_START}{number}".encode() in data for data in messages):
        number += 1
    return str(number) if messages else ""


@cache
def _multipart_header(subtype: str, mark: str) -> str:
    part = MIMEBase("multipart", subtype, boundary=_boundary(subtype, mark))
    if subtype == "related":
        part.set_param("type", "text/html")  # of its root (RFC 2387 §3.1)
    return _written(part)


def _text(name: str, text: str, kind: str) -> Part:
    try:
        transfer, lines = encoding.body(text)
    except UnicodeEncodeError as error:
        raise ContentError(
            f"{name} has half a surrogate pair at character {error.start}, which no mail can "
            "carry. Remove it."
        ) from error
    return _text_header(kind, transfer), lines.replace("\n", "\r\n")


@lru_cache(maxsize=64)
def _text_header(kind: str, transfer: str) -> str:
    part = MIMENonMultipart("text", "plain", charset="utf-8")
    part.replace_header("Content-Type", f'{kind}; charset="utf-8"')
    part["Content-Transfer-Encoding"] = transfer
    return _written(part)


def _file(attached: Attachment) -> Part:
    checked(attached)
    main, subtype, parameters = type_of(attached)
    part = MIMEBase(main, subtype)
    if parameters:
        part.replace_header("Content-Type", f"{main}/{subtype}{parameters}")
    transfer, lines = _carried(attached, main.lower())
    part["Content-Transfer-Encoding"] = transfer
    name = encoding.parameter("filename", attached.filename) if attached.filename else ""
    part["Content-Disposition"] = attached.disposition + name
    for header, value in attached.headers:
        plain = header.lower() in ("content-id", "content-location")  # not for encoded words
        part[header] = value if plain else encoding.unstructured(header, value)
    return _written(part), lines.replace("\n", "\r\n")


def _carried(attached: Attachment, main: str) -> tuple[str, str]:
    """The transfer encoding and the lines of a file; every byte of it arrives."""
    if is_message(attached):  # may not be encoded (RFC 2046 §5.2.1)
        return "7bit", attached.data.decode("ascii").replace("\r\n", "\n")
    if main == "text" and (lines := encoding.readable_bytes(attached.data)) is not None:
        return "quoted-printable", lines
    return "base64", encoding.base64_lines(attached.data)


def _written(part: Message) -> str:
    """The header of ``part``, whose fields are folded already."""
    return "".join([f"{name}: {value}\r\n" for name, value in part.items()])
