"""The body of a message: texts, alternatives and files as a tree of parts (RFC 2045 to 2049).

::

    mixed
    ├─ alternative
    │  ├─ text/plain, and what is no calendar
    │  ├─ related: text/html, and the pictures that it shows (RFC 2387)
    │  └─ text/calendar (RFC 6047)
    └─ files

A multipart of one part is that part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.nonmultipart import MIMENonMultipart
from functools import cache, lru_cache
from html import unescape
from urllib.parse import unquote

from ..errors import ContentError
from . import encoding
from .attachments import checked, checked_alternative, is_message, type_of
from .intent import Attachment, Intent

Part = tuple[str, str]  # header and body, with the line ends of RFC 5322

_CID = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)  # RFC 2392
_CALENDAR = "text/calendar"


def tree(intent: Intent) -> Part:
    """The header fields of the whole body, and the body.

    Raises:
        HeaderError: the type or the name of a part cannot stand in a header.
        ContentError: a text that cannot be encoded.
    """
    mark = _mark(intent.attachments)
    shown, files = _sorted_out(intent)
    content = _multipart("alternative", [*_alternatives(intent, shown, mark)], mark)
    return _multipart("mixed", (content, *map(_file, files)), mark)


def _sorted_out(intent: Intent) -> tuple[list[Attachment], list[Attachment]]:
    """What the HTML shows, and the other files."""
    shown: list[Attachment] = []
    files: list[Attachment] = []
    named = any(one.headers for one in intent.attachments) and intent.html is not None
    ids = {unquote(unescape(id)) for id in _CID.findall(intent.html or "")} if named else set()
    for one in intent.attachments:
        (shown if _is_shown(one, intent.html or "", ids) else files).append(one)
    return shown, files


def _is_shown(attached: Attachment, html: str, ids: set[str]) -> bool:
    headers = {name.lower(): value.strip() for name, value in attached.headers}
    location = headers.get("content-location")
    return headers.get("content-id", "").strip("<>") in ids or bool(location and location in html)


def _alternatives(intent: Intent, shown: Sequence[Attachment], mark: str) -> Iterator[Part]:
    """The plainest first: a reader shows the last one that it can (RFC 2046 §5.1.4)."""
    given = [checked_alternative(*one) for one in intent.alternatives]
    if intent.text is not None or (intent.html is None and not given):
        yield _text("text", intent.text or "", "text/plain")
    yield from (_text(kind, text, kind) for kind, text in given if not kind.startswith(_CALENDAR))
    if intent.html is not None:
        html = _text("html", intent.html, "text/html")
        yield _multipart("related", (html, *map(_file, shown)), mark)
    yield from (_text(kind, text, kind) for kind, text in given if kind.startswith(_CALENDAR))


def _multipart(subtype: str, parts: Sequence[Part], mark: str) -> Part:
    if len(parts) == 1:
        return parts[0]
    boundary = _boundary(subtype, mark)
    inner = [f"--{boundary}\r\n{header}\r\n{body}\r\n" for header, body in parts]
    return _multipart_header(subtype, mark), f"{''.join(inner)}--{boundary}--\r\n"


def _boundary(subtype: str, mark: str) -> str:
    # Encoded lines never hold its start, so any end will do that tells the one multipart from
    # the other (RFC 2046 §5.1.1).
    return f"{encoding.BOUNDARY_START}{mark}{subtype}"


def _mark(attachments: Sequence[Attachment]) -> str:
    """What tells our boundaries from those in attached messages, which travel as they are."""
    messages = [one.data for one in attachments if is_message(one)]
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
            "carry. Take it out."
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
        plain = header.lower() in ("content-id", "content-location")  # grammars of their own
        part[header] = value if plain else encoding.unstructured(header, value)
    return _written(part), lines.replace("\n", "\r\n")


def _carried(attached: Attachment, main: str) -> tuple[str, str]:
    """Transfer encoding and lines of a file; every byte of it arrives."""
    if is_message(attached):  # may not be encoded (RFC 2046 §5.2.1)
        return "7bit", attached.data.decode("ascii").replace("\r\n", "\n")
    if main == "text" and (lines := encoding.readable_bytes(attached.data)) is not None:
        return "quoted-printable", lines
    return "base64", encoding.base64_lines(attached.data)


def _written(part: Message) -> str:
    """The header of ``part``, its fields folded already where they have to be."""
    return "".join([f"{name}: {value}\r\n" for name, value in part.items()])
