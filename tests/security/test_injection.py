"""Control characters and false addresses are refused at the call; nothing of them is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_mail
import pytest

from flask_interaction_mail import Party, operations, send_notification
from tests.host import Host
from tests.proofs import proved
from tests.security.corpora import FALSE_ADDRESSES
from tests.servers.scripted import Scripted
from tests.terminal import done

VECTORS = ["\r", "\n", "\r\n", "\r\nBcc: x@evil.example", "\x00", "\t", "\x0b", "\x0c", "\x1b",
           "\x1c", "\x1d", "\x1e", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029",
           "\ud800"]  # fmt: skip


def _call(**given: Any) -> None:
    arguments: dict[str, Any] = {"to": "ada", "subject": "Hello", "text": "Hello"} | given
    send_notification(arguments.pop("to"), **arguments)


def _attach(filename: str = "a", content_type: str = "x/y", **others: Any) -> None:
    _call(attachments=[flask_mail.Attachment(filename, content_type, b"", **others)])


def _flask_mail(**given: Any) -> None:
    arguments = {"subject": "Hello", "recipients": ["ada@firm.example"], "body": "x"} | given
    # Flask-Mail would refuse some of it before us: what it lets pass is ours to refuse.
    flask_mail.email_dispatched.send(_app(), message=flask_mail.Message(**arguments))


def _save(**changed: Any) -> None:
    state = _app().extensions["interaction_mail"]
    operations.save_settings(state, changed, base=None, changed_by="test")


def _app() -> Any:
    from flask import current_app

    return current_app._get_current_object()


# Every argument that ends in a header or a command, with a value put in it.
FIELDS: dict[str, Callable[[str], None]] = {
    "subject": lambda bad: _call(subject=f"Hel{bad}lo"),
    "to": lambda bad: _call(to=f"ad{bad}a@firm.example"),
    "to, named": lambda bad: _call(to=f"Ad{bad}a <ada@firm.example>"),
    "to, name of a party": lambda bad: _call(to=Party(f"Ad{bad}a", "ada")),
    "to, address of a party": lambda bad: _call(to=Party("Ada", f"ad{bad}a")),
    "cc": lambda bad: _call(cc=f"ad{bad}a@firm.example"),
    "bcc": lambda bad: _call(bcc=f"ad{bad}a@firm.example"),
    "reply_to": lambda bad: _call(reply_to=f"ada@fi{bad}rm.example"),
    "reply_to, name of a party": lambda bad: _call(reply_to=Party(f"Ad{bad}a", "ada")),
    "sender": lambda bad: _call(sender=f"ad{bad}a@firm.example"),
    "sender, name of a party": lambda bad: _call(sender=Party(f"Ad{bad}a", "ada")),
    "name of a header": lambda bad: _call(headers={f"X-{bad}Own": "x"}),
    "value of a header": lambda bad: _call(headers={"X-Own": f"a{bad}b"}),
    "file name": lambda bad: _attach(filename=f"a{bad}.txt"),
    "content type": lambda bad: _attach(content_type=f"text/pl{bad}ain"),
    "disposition": lambda bad: _attach(disposition=f"in{bad}line"),
    "Flask-Mail: subject": lambda bad: _flask_mail(subject=f"Hel{bad}lo"),
    "Flask-Mail: recipient": lambda bad: _flask_mail(recipients=[f"ad{bad}a@firm.example"]),
    "Flask-Mail: name of a recipient": lambda bad: _flask_mail(
        recipients=[(f"Ad{bad}a", "ada@firm.example")]
    ),
    "Flask-Mail: sender": lambda bad: _flask_mail(sender=(f"Ad{bad}a", "ada@firm.example")),
    "Flask-Mail: reply_to": lambda bad: _flask_mail(reply_to=f"ad{bad}a@firm.example"),
    "Flask-Mail: extra header": lambda bad: _flask_mail(extra_headers={"X-Own": f"a{bad}b"}),
    "header of a part": lambda bad: _attach(headers={"Content-ID": f"<a{bad}b>"}),
    "setting: default_from": lambda bad: _save(default_from=f"cr{bad}m"),
    "setting: sender_name": lambda bad: _save(sender_name=f"Fi{bad}rm"),
    "setting: default_from_name": lambda bad: _save(default_from_name=f"Fi{bad}rm"),
    "setting: helo_name": lambda bad: _save(helo_name=f"crm{bad}.firm.example"),
    "setting: login": lambda bad: _save(login=f"cr{bad}m"),
}


# Flask-Mail takes tabs there, and so does the bridge, as the blanks that they stand for.
TABS_ARE_BLANKS = (
    "Flask-Mail: subject",
    "Flask-Mail: name of a recipient",
    "Flask-Mail: sender",
    "Flask-Mail: extra header",
)


def refused(host: Host, call: Callable[[], None]) -> int:
    """Counts 1 for a call that ends in a ValueError; one that succeeds fails the test."""
    with host.app.app_context(), pytest.raises(ValueError, match=r"\w") as caught:
        call()
    # The error is for a log and a terminal: what was refused has no effect there either.
    assert str(caught.value).isprintable(), str(caught.value)
    return 1


def nothing_left(host: Host, server: Scripted) -> int:
    """The bytes that the server has got after a worker has been at work: none."""
    done(host, "worker", "--once")
    assert host.rows() == []
    assert server.connections == 0
    return server.reads


def test_t7_control_characters_are_refused_in_every_header_bound_value(
    host: Host, server: Scripted
) -> None:
    """A ValueError at the call, whatever the field and the character; no byte at the server."""
    count = 0
    for name, put in FIELDS.items():
        for vector in VECTORS:
            if vector == "\t" and name in TABS_ARE_BLANKS:
                continue
            try:
                count += refused(host, lambda put=put, vector=vector: put(vector))
            except BaseException as error:
                error.add_note(f"{name}: {vector!r}")
                raise
    sent = nothing_left(host, server)
    proved(
        "T7",
        f"{len(FIELDS)} fields × {len(VECTORS)} vectors: {count} refused, {sent} bytes sent",
    )


# Unlike mailboxes, a header's value may end in a blank: only what is not a blank counts there.
@pytest.mark.parametrize("place", ["{}x", "x{}"])
def test_t7_no_control_character_is_stripped_from_the_ends(host: Host, place: str) -> None:
    """At the beginning and at the end it is refused as well, never quietly taken away.

    But for addresses: there a tab or a line break at the ends is what a paste brings along.
    """
    for vector in VECTORS:
        text = place.format(vector)
        refused(host, lambda text=text: _call(subject=text))
        refused(host, lambda text=text: _call(headers={"X-Own": text}))
        if vector.strip("\r\n\t"):  # those come along at the ends of an address in data
            refused(
                host, lambda text=text: _call(to=f"{text}@firm.example" if text[0] != "x" else text)
            )
        refused(host, lambda text=text: _attach(filename=text))


ADDRESSES: dict[str, Callable[[str], None]] = {
    "to": lambda raw: _call(to=raw),
    "to of a party": lambda raw: _call(to=Party("Ada", raw)),
    "cc": lambda raw: _call(cc=[raw]),
    "bcc": lambda raw: _call(bcc=[raw]),
    "reply_to": lambda raw: _call(reply_to=raw),
    "sender": lambda raw: _call(sender=raw),
    "sender of a party": lambda raw: _call(sender=Party("Ada", raw)),
    "Flask-Mail: recipient": lambda raw: _flask_mail(recipients=[raw]),
}


def test_t8_addresses_that_pretend_are_refused(host: Host, server: Scripted) -> None:
    """None of the corpus is taken anywhere that an address may be given."""
    count = sum(
        refused(host, lambda put=put, raw=raw: put(raw))
        for put in ADDRESSES.values()
        for raw in FALSE_ADDRESSES
    )
    for name in ("default_to", "default_from", "divert_to"):
        for raw in FALSE_ADDRESSES:
            with pytest.raises(ValueError, match=name):
                host.configure(**{name: raw})
            count += 1
    sent = nothing_left(host, server)
    places = len(ADDRESSES) + 3
    proved(
        "T8",
        f"{len(FALSE_ADDRESSES)} false addresses × {places} places: "
        f"{count} refused, {sent} bytes sent",
    )


def test_t8_a_sender_that_pretends_gives_way(host: Host) -> None:
    """Whatever an extension of the host takes from its configuration, From is the default From."""
    false = [raw for raw in FALSE_ADDRESSES if raw.isprintable()]
    with host.app.app_context():
        for raw in false:
            _flask_mail(sender=raw)
        host.db.session.commit()
    contents = [row.content for row in host.rows()]
    assert len(contents) == len(false) > 10
    for content in contents:
        header = content.partition(b"\r\n\r\n")[0]
        assert b"\r\nFrom: crm@firm.example\r\n" in header
        assert b"Reply-To" not in header
        assert b"Sender" not in header
    said = "{} false addresses as sender of a Flask-Mail message: default From alone"
    proved("T8", said, len(contents))


@pytest.mark.parametrize(
    "sender",
    [("Ada@Firm.example", "ada@firm.example"), ("Ada @ Firm", "ada@firm.example"),
     '"ada@else.example" <ada@firm.example>']
)  # fmt: skip
def test_t8_names_that_confuse_nobody_are_taken(host: Host, sender: Any) -> None:
    """The address itself as the name, an @ between blanks, and what stands in quotes."""
    with host.app.app_context():
        _flask_mail(sender=sender)
        host.db.session.commit()
    (row,) = host.rows()
    from_ = row.content.partition(b"\r\nFrom: ")[2].partition(b"\r\n")[0]
    assert from_.endswith(b"<ada@firm.example>") or from_ == b"ada@firm.example"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@例え.test", "ada@xn--r8jz45g.test"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("ada@пример.example", "ada@xn--e1afmkfd.example"),
    ],
)
def test_t8_international_domains_are_kept_and_sent_as_a_labels(
    host: Host, server: Scripted, given: str, kept: str
) -> None:
    """What a look-alike letter could hide is seen in the outbox, on the envelope and in To."""
    with host.app.app_context():
        _call(to=given)
        host.db.session.commit()
    done(host, "worker", "--once")
    (message,) = server.messages
    assert message.recipients == host.recipients() == [kept]
    assert f"\r\nTo: {kept}\r\n".encode() in message.content
    proved("T8", "{} international domains: kept and sent as A-labels")
