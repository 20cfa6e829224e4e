"""What a host's directory answers: used as it is, or counted as no answer and logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.local import LocalProxy

from flask_interaction_mail import Contact, Directory, Party
from flask_interaction_mail.directory import People

ADA = Party("Ada Byron", "ada@firm.example", id=1)
ACME = Contact(1, "Acme", location="Firm List")


class Named(Party):
    """A host's own party, whose parts can be iterated over."""

    def __iter__(self) -> Iterator[object]:
        return iter((self.name, self.email))


def people(**answers: Any) -> People:
    """A directory whose methods give these answers; an exception is raised."""

    def method(answer: Any) -> Any:
        def answered(self: Directory, *_: str) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return answered

    made = type("Host", (Directory,), {name: method(answer) for name, answer in answers.items()})
    return People(made())


@pytest.mark.parametrize("user", [ADA, LocalProxy(lambda: ADA), Named("Ada Byron", "ada"), None])
def test_a_current_user_is_taken_as_it_is(user: Party | None) -> None:
    """Also a proxy, as logins have them, and a party that can be iterated over."""
    assert people(current_user=user).current_user() == user


@pytest.mark.parametrize("user", ["ada", [ADA], (ADA,), RuntimeError("no database")])
def test_anything_else_is_nobody(user: object, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the method, and the type where there was an answer."""
    assert people(current_user=user).current_user() is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Directory.current_user" in record.getMessage()
    if not isinstance(user, Exception):
        assert f"answered {type(user).__name__}" in record.getMessage()


@pytest.mark.parametrize("owners", [[ADA], (ADA,), iter([ADA]), {ADA}])
def test_parties_come_in_whatever_can_be_iterated_over(owners: Any) -> None:
    """A list, a generator, a set."""
    assert people(folder_owners=owners).folder_owners("Customers") == (ADA,)


def failing() -> Iterator[Party]:
    yield ADA
    raise RuntimeError("no database")


@pytest.mark.parametrize("owners", ["ada", None, ADA, failing(), RuntimeError("no database")])
def test_what_is_no_sequence_is_no_answer(owners: object, caplog: pytest.LogCaptureFixture) -> None:
    """One record says so."""
    assert people(folder_owners=owners).folder_owners("Customers") == ()
    assert len(caplog.records) == 1


def test_no_more_is_taken_than_is_asked_for() -> None:
    """Of a generator that has no end, as of many people."""

    def endless() -> Iterator[Party]:
        while True:
            yield ADA

    assert people(parties=endless()).parties(3) == (ADA, ADA, ADA)
    assert people(locations=iter("abc")).locations(2) == ("a", "b")
    assert len(people(find_parties=endless()).find_parties("a")) == 20
    assert len(people(find_contacts=iter([ACME] * 30)).find_contacts("a")) == 20


@pytest.mark.parametrize("found", ["a", {"id": 1}, ADA, RuntimeError("no database")])
def test_what_is_no_contact_is_none(found: object, caplog: pytest.LogCaptureFixture) -> None:
    """One record says so; a contact is taken as it is."""
    assert people(contact=ACME).contact("1") == ACME
    assert caplog.records == []
    assert people(contact=found).contact("1") is None
    assert len(caplog.records) == 1


def test_what_the_host_has_written_itself_is_known() -> None:
    """In a class or on an object; what the base class answers for it is not."""
    assert people(parties=()).offers("parties")
    assert not people(parties=()).offers("locations")
    single = Directory()
    single.locations = lambda: ()  # type: ignore[method-assign]
    assert People(single).offers("locations")
    assert not People(single).offers("parties")
    assert not People(None).offers("contact")
    assert not People(object()).offers("contact")  # type: ignore[arg-type]
