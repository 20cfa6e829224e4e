"""What a caller gives: everything is looked at and written down at the call, or refused by name."""

from __future__ import annotations

import enum
import logging
import uuid
from collections import UserString
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import flask_mail
import pytest
import sqlalchemy as sa
from babel import Locale
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.local import LocalProxy

from flask_interaction_mail import (
    ArgumentError,
    Contact,
    InteractionMailError,
    Merge,
    Notification,
    Party,
    Role,
    get_notification,
    merge_completed,
    merge_denied,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.messages.compose import Identity
from flask_interaction_mail.messages.intent import Intent
from flask_interaction_mail.storage import tables
from tests.databases import DIALECTS, fresh_database
from tests.host import Host, a_merge, opened


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host in which nothing is stored, for all who try what is refused."""
    with opened(f"sqlite:///{tmp_path_factory.mktemp('refusing')}/host.sqlite") as host:
        host.configure()
        yield host
        assert host.rows() == []


class User:
    """A host's own user, which is no Party."""

    name, email = "Ada", "ada@firm.example"


class Lazy:
    """A translation that is a text only when somebody asks, as Flask-Babel's are."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        if name == "__setstate__":
            raise AttributeError(name)
        return getattr(str(self), name)


class Word(str, enum.Enum):  # noqa: UP042 - hosts have them
    REMINDER = "reminder"


def _sent(host: Host, *, of: Any = "bob", **others: Any) -> Notification:
    with host.app.app_context():
        host.db.session.add(host.Thing(name="t"))
        notification = send_notification(of, **({"subject": "Hello", "text": "x"} | others))
        host.db.session.commit()
        host.db.session.query(host.Thing).delete()
        host.db.session.commit()
        return notification


# -- what is taken ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "kept"),
    [
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (7, 7),
        ("seven", "seven"),
        (LocalProxy(lambda: 7), 7),
        (LocalProxy(lambda: "seven"), "seven"),
    ],
)
def test_ids_of_hosts_become_text_or_number(any_host: Host, id: Any, kept: Any) -> None:
    """Whichever type the keys of a host have, its commit goes through, also for the user alone."""
    party = Party("Bob", "bob", id=id)
    any_host.people.user = party

    _sent(any_host)
    _sent(any_host, of=party, cc=party, bcc=[party], reply_to=party, sender=party)

    alone, named = any_host.rows()
    assert alone.actor == str(kept)
    for one in (Intent.from_json(alone.intent).user, Intent.from_json(named.intent).sender):
        assert one is not None
        assert (one.id, type(one.id)) == (kept, type(kept))
    assert party == Party("Bob", "bob", id=kept)


@pytest.mark.parametrize("wrong", [object(), b"7", 1.5, ("a", 1), 1 << 200, [7]])
def test_an_id_that_is_none_is_refused_where_the_party_is_made(wrong: Any) -> None:
    """Later would be in the host's commit."""
    with pytest.raises((TypeError, ValueError), match=r"Party\.id"):
        Party("Bob", "bob", id=wrong)
    with pytest.raises((TypeError, ValueError), match=r"Contact\.id"):
        Contact(wrong, "Acme", location="here")


def test_a_locale_may_be_babels(host: Host) -> None:
    """It is kept as text; what is no locale at all is refused."""
    party = Party("Bob", "bob", locale=Locale("pt", "BR"))
    _sent(host, of=party)
    assert party.locale == "pt_BR"
    with pytest.raises(TypeError, match=r"Party\.locale.*not int"):
        Party("Bob", locale=7)


@pytest.mark.parametrize("text", [Lazy, UserString, Markup, lambda text: LocalProxy(lambda: text)])
def test_lazy_texts_are_resolved_at_the_call(any_host: Host, text: Any) -> None:
    """A translation has the language of the call, not that of whoever delivers."""
    party = Party(text("Bob"), text("bob"), id=text("7"), kind=text("user"), locale=text("de"))

    _sent(
        any_host,
        of=[party, text("eve@other.example")],
        subject=text("Hello"),
        text=text("plain"),
        html=text("<p>rich"),
        kind=text("reminder"),
        headers={text("X-Tag"): text("t")},
        key=text("k"),
        cc=text("cc"),
    )

    (row,) = any_host.rows()
    intent = Intent.from_json(row.intent)
    assert (intent.subject, intent.text, intent.html) == ("Hello", "plain", "<p>rich")
    assert (intent.kind, intent.headers, row.key) == ("reminder", (("X-Tag", "t"),), "k")
    assert any_host.recipients() == ["bob@firm.example", "cc@firm.example", "eve@other.example"]


def test_an_enumerated_word_is_its_value(host: Host) -> None:
    """``str()`` of it would be the name of its class."""
    assert _sent(host, kind=Word.REMINDER).kind == "reminder"


# -- a denial never breaks the host's commit -----------------------------------------------


@pytest.mark.parametrize(
    "merge",
    [
        a_merge("Firm List", requester=Party("Ann", "ann", id=uuid.UUID(int=1))),
        a_merge("Firm List", requester=Party("A\ud800nn", "ann")),
        a_merge("Firm List", requester=Party("A\x00nn", "a\x00n\ud800n")),
        a_merge("Firm List", requester=Party("Ann", "ann", id="\x00\ud800")),
        a_merge("Firm\ud800List\x00"),
        a_merge("Firm List", reason="so \ud800\x00 what"),
        a_merge("Firm List", reason=Lazy("so what")),
        a_merge("Firm List", requester=Party("Ann", locale=Locale("de"))),
        a_merge("Firm List", requester=Party("Ann", locale="\ud800 no locale")),
        Merge((Contact("1" * 600, "A" * 600, location="L" * 600), Contact(2, "", location=""))),
    ],
)
def test_a_denial_is_stored_whatever_is_in_it(any_host: Host, merge: Merge) -> None:
    """The host's rows are there, and so is the request that the page tells of."""
    with any_host.app.app_context():
        any_host.db.session.add(any_host.Thing(name="t"))
        merge_denied.send(any_host.app, merge=merge)
        told = request_merge(merge)
        merge_completed.send(any_host.app, merge=a_merge("Firm List", ids=(8, 9)))
        any_host.db.session.commit()
        assert any_host.db.session.query(any_host.Thing).count() == 1
        assert told is not None
        stored = get_notification(told.id)
    assert stored is not None
    assert stored.status in ("queued", "cancelled")
    assert len(any_host.rows()) == 1


# -- what is refused -----------------------------------------------------------------------


PEOPLE_WANTED = "a Party, an address or a sequence of them"


@pytest.mark.parametrize("argument", ["to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (User(), r"not User\. .*Party\(user\.name, user\.email\)"),
        ([User()], r"not User\. .*Party\(user"),
        (("Ada", "ada@example.com"), r"not tuple \('Ada'.*Party\('Ada', 'ada@example\.com'\)"),
        ([("Ada", "ada@example.com")], r"not tuple .*Party\(name, address\)"),
        ({"Ada": "ada@example.com"}, r"not dict \{'Ada'.*Party\(name, address\) for each"),
        (b"ada@example.com", r"not bytes b'ada.*[Dd]ecode"),
        (7, "not int 7"),
        ([7], "not int 7"),
        (Ellipsis, "not ellipsis"),
    ],
)
def test_whoever_is_addressed_wrongly_learns_how(
    refusing: Host, argument: str, given: Any, wanted: str
) -> None:
    """Not who is addressed by accident, nor what Python says of a loop."""
    arguments = {"to": "bob", "subject": "s", "text": "t"} | {argument: given}
    with (
        refusing.app.app_context(),
        pytest.raises(ArgumentError, match=f"^{argument} takes {PEOPLE_WANTED}, {wanted}"),
    ):
        send_notification(**arguments)


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"send_at": "tomorrow"}, r"send_at takes an aware datetime .*, not str 'tomorrow'"),
        ({"send_at": 7}, "send_at takes .*, not int 7"),
        ({"send_at": NOW.date()}, "send_at takes .*, not date"),
        ({"send_at": NOW.replace(tzinfo=None)}, "send_at takes .* no time zone"),
        ({"expires_at": "soon"}, "expires_at takes .*, not str 'soon'"),
        ({"send_at": NOW, "expires_at": NOW - timedelta(1)}, "expires_at must come after send_at"),
        ({"send_at": NOW, "expires_at": NOW}, "expires_at must come after send_at"),
        ({"send_at": datetime(9999, 12, 31, tzinfo=UTC)}, "send_at takes .* hundred years"),
        (
            {"send_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))},
            "send_at takes .* hundred years",
        ),
        ({"expires_at": datetime.max.replace(tzinfo=UTC)}, "expires_at takes .* Leave it out"),
        ({"send_at": datetime.min.replace(tzinfo=UTC)}, "send_at takes a time from 1970"),
        (
            {"send_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
            "send_at takes a time from 1970",
        ),
        ({"text": 7}, "text takes a text, not int 7"),
        ({"text": b"x"}, "text takes a text, not bytes b'x'. Decode"),
        ({"html": ["<p>"]}, "html takes a text, not list"),
        ({"subject": 7}, "subject takes a text, not int 7"),
        ({"kind": None}, "kind takes a word .*, not None"),
        ({"kind": 7}, "kind takes a word .*, not int 7"),
        ({"kind": "two words"}, "kind takes a word .*, not 'two words'"),
        ({"key": uuid.UUID(int=1)}, r"key takes a text .*, not UUID.*str\(id\)"),
        ({"key": "a\x00"}, "key takes a text .*NUL"),
        ({"key": "a\ud800"}, "key takes a text .*surrogate"),
        ({"text": None, "template": 7}, "template takes a text, not int 7"),
        ({"text": None, "template": "merge_request", "context": [1]}, "context takes a mapping"),
        ({"headers": [("X-A", "b")]}, r"headers takes a mapping .*, not list"),
        ({"headers": {"X-A": 7}}, "The header X-A must be a string, not int"),
        ({"headers": {7: "x"}}, "a header name must be a string, not int"),
        ({"sender": User()}, "sender takes .*not User"),
        ({"sender": 7}, "sender takes a Party, an address or None, not int 7"),
        ({"attachments": "/etc/passwd"}, "attachments takes a sequence .*, not str"),
        ({"attachments": ("a.txt", "text/plain", b"x")}, "attachments takes .* not tuple.*a list"),
        (
            {"attachments": flask_mail.Attachment("a", "text/plain", b"x")},
            "attachments takes .*, not Attachment. .*a list",
        ),
        ({"attachments": 7}, "attachments takes a sequence .*, not int 7"),
    ],
)
def test_each_argument_says_what_it_takes_and_what_it_got(
    refusing: Host, arguments: dict[str, Any], text: str
) -> None:
    """An error of ours, never one from the depths."""
    with refusing.app.app_context(), pytest.raises(InteractionMailError, match=text):
        send_notification(**({"to": "bob", "subject": "s", "text": "t"} | arguments))


def test_two_people_may_stand_in_a_tuple(host: Host) -> None:
    """Only a name before an address is taken for a mistake."""
    _sent(
        host, of=("bob", "eve"), cc=("x@firm.example", "y@firm.example"), bcc=["z", "w@w.example"]
    )
    assert len(host.recipients()) == 6


@pytest.mark.parametrize(
    ("to", "cc", "bcc", "warned"),
    [(1500, 0, 0, True), (60, 60, 0, True), (100, 0, 0, False), (0, 0, 1500, False)],
)
def test_a_crowd_in_one_header_is_a_warning_that_names_a_loop(
    host: Host, caplog: pytest.LogCaptureFixture, to: int, cc: int, bcc: int, warned: bool
) -> None:
    """Each of them would see everybody's address; blind copies are nobody's to see."""
    people = [[f"{field}{n}" for n in range(count)] for field, count in enumerate((to, cc, bcc))]
    with caplog.at_level(logging.WARNING):
        _sent(host, of=people[0] or None, cc=people[1], bcc=people[2])
    assert ("once for each in a loop" in caplog.text) == warned
    assert len(host.recipients()) == to + cc + bcc


# -- nothing that passes the call fails later ------------------------------------------------

ANY_TEXT = st.text(
    st.one_of(st.characters(), st.characters(categories=["Cs"]), st.sampled_from("\x00\n\t@<>, ")),
    max_size=20,
)
LONG_TEXT = st.one_of(ANY_TEXT, st.integers(1, 2000).map(lambda n: "ä" * n))
TEXT = st.one_of(LONG_TEXT, ANY_TEXT.map(Lazy), ANY_TEXT.map(Markup))
IDS = st.one_of(st.none(), st.integers(), st.uuids(), TEXT, st.floats(), st.booleans())
LOCALES = st.one_of(st.none(), st.sampled_from([Locale("de"), "de", "pt-BR"]), TEXT)
EMAILS = st.one_of(st.none(), st.sampled_from(["bob", "eve@other.example"]), TEXT)
RUBBISH = st.one_of(
    st.none(), st.integers(), st.binary(max_size=5), st.builds(User), st.dictionaries(TEXT, TEXT)
)


@st.composite
def parties(draw: st.DrawFn) -> Any:
    """A party, as far as one can be made of what is drawn."""
    try:
        return Party(
            draw(st.one_of(st.just("Bob"), TEXT)),
            draw(EMAILS),
            id=draw(IDS),
            kind=draw(st.sampled_from(["user", "group"])),
            role=draw(st.sampled_from([None, *Role])),
            uses_desktop_client=draw(st.booleans()),
            locale=draw(LOCALES),
        )
    except (TypeError, ValueError):
        return None


PEOPLE = st.one_of(st.lists(st.one_of(parties(), EMAILS), max_size=3), parties(), EMAILS, RUBBISH)
TIMES = st.one_of(st.datetimes(timezones=st.timezones()), st.datetimes(), RUBBISH)
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "to": PEOPLE,
    "subject": st.one_of(TEXT, RUBBISH),
    "text": st.one_of(TEXT, RUBBISH),
    "html": st.one_of(TEXT, RUBBISH),
    "cc": PEOPLE,
    "bcc": PEOPLE,
    "reply_to": PEOPLE,
    "sender": st.one_of(parties(), EMAILS, RUBBISH),
    "headers": st.one_of(st.dictionaries(st.sampled_from(["X-A", "Importance"]), TEXT), RUBBISH),
    "attachments": st.one_of(
        st.lists(st.tuples(TEXT, st.sampled_from(["text/plain", "a"]), st.binary())), RUBBISH
    ),
    "alternatives": st.one_of(
        st.dictionaries(st.sampled_from(["text/calendar", "text/x-a; b=c", "a"]), TEXT), RUBBISH
    ),
    "kind": st.one_of(st.sampled_from(["request", Word.REMINDER]), TEXT, RUBBISH),
    "key": st.one_of(TEXT, RUBBISH),
    "send_at": TIMES,
    "expires_at": TIMES,
    "template": st.one_of(st.just("merge_request"), TEXT, RUBBISH),
    "context": st.one_of(st.dictionaries(TEXT, TEXT), RUBBISH),
}


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of a call, of which one or two are anything at all."""
    arguments = {"to": draw(st.sampled_from(["bob", None])), "subject": "s", "text": "t"}
    for name in draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=2)):
        arguments[name] = draw(OTHERS[name])
    if "template" in arguments:
        del arguments["text"]
    return arguments


@st.composite
def merges(draw: st.DrawFn) -> Merge | None:
    """A merge, as far as one can be made of what is drawn."""
    try:
        contacts = [
            Contact(
                draw(IDS),
                draw(TEXT),
                location=draw(st.one_of(st.just("Firm List"), TEXT)),
                url=draw(st.one_of(st.none(), st.just("https://crm.example/1"), TEXT)),
            )
            for _ in range(2)
        ]
        reason = draw(st.one_of(st.none(), TEXT))
        return Merge((contacts[0], contacts[1]), requester=draw(parties()), reason=reason)
    except (TypeError, ValueError):
        return None


def _fits(row: Any, table: sa.Table) -> None:
    for column in table.columns:
        length = getattr(column.type, "length", None)
        value = getattr(row, column.name)
        if length and isinstance(value, str):
            assert len(value) <= length, column.name
            assert "\x00" not in value
            assert value.encode().decode() == value


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_passes_the_call_never_fails_later(
    dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of any arguments: an error of ours at the call, or a commit, and a row that can be read."""
    folder, taken = tmp_path_factory.mktemp("any"), 0
    with fresh_database(dialect, folder) as url, opened(url) as host:
        host.configure(own_domains="other.example")

        @settings(
            max_examples=100,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(calls(), parties())
        def holds(arguments: dict[str, Any], user: Any) -> None:
            nonlocal taken
            host.people.user = user
            with host.app.app_context():
                try:
                    told = send_notification(**arguments)
                except InteractionMailError:
                    return
                host.db.session.commit()
                taken += 1
                assert get_notification(id=told.id) is not None
                with host.db.engine.connect() as connection:
                    row = connection.execute(
                        sa.select(tables.MESSAGE).where(tables.MESSAGE.c.id == told.id)
                    ).one()
                    recipients = connection.execute(
                        sa.select(tables.RECIPIENT).where(tables.RECIPIENT.c.message_id == told.id)
                    ).all()
                _fits(row, tables.MESSAGE)
                for recipient in recipients:
                    _fits(recipient, tables.RECIPIENT)
                operations.compose(
                    host.state,
                    Intent.from_json(row.intent),
                    Identity.fresh(),
                    host.state.settings.current().settings,
                )

        holds()
    assert taken > 30  # the others were refused at the call


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whatever_a_merge_holds_is_stored_beside_the_hosts_rows(
    dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By either signal and by the call, whoever is logged in or may merge there."""
    stored = 0
    with fresh_database(dialect, tmp_path_factory.mktemp("any")) as url, opened(url) as host:
        host.configure()

        @settings(
            max_examples=60,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(merges(), parties(), st.lists(parties(), max_size=2))
        def holds(merge: Merge | None, user: Any, people: list[Any]) -> None:
            nonlocal stored
            if merge is None:
                return
            host.people.user = user
            host.people.mergers = {"Firm List": [one for one in people if one is not None]}
            host.people.owners = host.people.mergers
            with host.app.app_context():
                host.db.session.add(host.Thing(name=f"t{stored}"))
                merge_denied.send(host.app, merge=merge)
                told = request_merge(merge)
                merge_completed.send(host.app, merge=merge)
                host.db.session.commit()
                stored += 1
                assert host.db.session.query(host.Thing).count() == stored
                assert told is not None
                assert get_notification(told.id) is not None

        holds()
    assert stored > 10
