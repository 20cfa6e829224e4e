"""What a digest tells of the messages in it."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_interaction_mail.messages.digest_content import IN_FULL, Content, summary_of
from flask_interaction_mail.messages.intent import Attachment, Intent
from flask_interaction_mail.messages.plain_text import plain
from flask_interaction_mail.values import Party

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).replace(tzinfo=None)
ADA = Party("Ada\nByron", "ada", id=1, locale="de")


def content(subject="Hello", *, text="Good day", kind="request", **others):
    intent = Intent(kind=kind, source="call", subject=subject, text=text, **others)
    return Content(subject, NOW, intent.to_json())


def summary(*contents, names=None):
    return summary_of(contents, names or [(one.subject, "request") for one in contents])


def test_subject_author_time_and_text_are_told():
    """Each message in full: what, by whom, when, and its text; the author is one line."""
    (entry,) = summary(content(user=ADA, to=(ADA,))).entries
    assert (entry.subject, entry.who, entry.text) == ("Hello", "Ada Byron", "Good day")
    assert entry.at == NOW.replace(tzinfo=UTC)


def test_the_first_are_in_full_and_the_rest_is_counted():
    """A thousand messages: some texts, then subjects with their numbers, then how many more."""
    subjects = [f"s{number}" for number in range(IN_FULL)] + ["often"] * 500
    subjects += [f"t{number}" for number in range(480)]
    made = summary(
        *(content(one) for one in subjects[:IN_FULL]), names=[(one, "request") for one in subjects]
    )
    assert (made.count, len(made.entries), made.others[0]) == (1000, IN_FULL, ("often", 500))
    told = len(made.entries) + sum(number for _, number in made.others) + made.further
    assert told == 1000


def test_kind_and_language_are_those_that_all_share():
    """Requests stay requests; mixed ones are notifications; a language counts if all have it."""
    one = content(to=(ADA,))
    assert (summary(one).kind, summary(one).locale) == ("request", "de")
    mixed = summary(one, content(), names=[("a", "request"), ("b", "notification")])
    assert mixed.kind == "notification"
    other = content(to=(Party("Bob", "bob", locale="fr"),))
    assert summary(one, other).locale is None


def test_a_long_text_is_cut_and_says_so():
    """Four thousand characters are enough to know what it is about."""
    (entry,) = summary(content(text="x" * 9000)).entries
    assert len(entry.text) == 4000
    assert entry.cut


def test_attachments_travel_as_far_as_there_is_room():
    """Small files go with the digest; what is too much is named instead."""
    small, large = (
        Attachment(filename=name, content_type="text/plain", data=b"x" * size)
        for name, size in (("small.txt", 10), ("large.txt", 6_000_000))
    )
    made = summary(content(attachments=(small, large)), content(attachments=(small,)))
    assert [one.filename for one in made.attachments] == ["small.txt", "small.txt"]
    assert [(one.files, one.missing) for one in made.entries] == [
        (("small.txt",), ("large.txt",)),
        (("small.txt",), ()),
    ]


def test_a_damaged_message_takes_nothing_with_it():
    """One whose text cannot be read is told by its subject."""
    damaged = Content("Broken", NOW, "{not json")
    first, second = summary(damaged, content()).entries
    assert (first.subject, first.who) == ("Broken", None)
    assert second.text == "Good day"


def test_html_alone_becomes_text():
    """Paragraphs become lines, links stay behind their words, nothing hidden is shown."""
    html = (
        "<!doctype html><head><title>t</title><style>p { }</style></head><p>Dear <b>Bob</b>,</p>"
        '<script>alert(1)</script><p>see <a href="https://crm.example/7">this</a> &amp; that.</p>'
    )
    assert plain(html) == "Dear Bob,\nsee this <https://crm.example/7> & that."
    (entry,) = summary(content(text=None, html="<p>a&#27;[31m&#1;b</p>")).entries
    assert entry.text.isprintable()
