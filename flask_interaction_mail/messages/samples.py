"""Sample data for the messages that ship, and stand-ins for the rest, in the language spoken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..language import gettext
from ..settings.model import MessagingSettings, relay_of
from ..values import Contact, Kind, Merge, Party
from . import merge_content
from .digest_content import Entry, Summary
from .intent import Addressees

_BEN: Final = Party("Ben Okafor", "ben.okafor@example.com", id="sample")
_ADA: Final = Party("Ada Moreau", "ada.moreau@example.com", id="another sample")
_AT: Final = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)


class Sample(NamedTuple):
    """The names that a template may use, who gets the message, and who caused it."""

    names: Mapping[str, Any] = MappingProxyType({})
    whom: Addressees = Addressees(kind=Kind.NOTIFICATION, source="call", to=(_ADA,))
    user: Party | None = None


def sample_of(name: str, settings: MessagingSettings) -> Sample:
    """The sample of the template ``name``; of one that does not ship, who gets it and no names."""
    make = _SAMPLES.get(name)
    return make(settings) if make else Sample(user=_BEN)


def candidates() -> tuple[tuple[str, tuple[Party, ...]], ...]:
    """Who may merge the sample contacts."""
    stewards = Party(gettext("Data Stewards"), "data-stewards@example.com", kind="group")
    return ((_location(), (stewards,)),)


def complete(settings: MessagingSettings) -> MessagingSettings:
    """``settings``, with examples where they lack what a message needs."""
    return replace(
        settings,
        smtp_server=settings.smtp_server or "mail.example.com",
        region=settings.region or "eu-west-1",
        company_domain=settings.company_domain or "example.com",
        default_from=settings.default_from or "crm@example.com",
        default_to=settings.default_to or "data-stewards@example.com",
    )


def _location() -> str:
    return gettext("Customers")


def _contact(id: str, name: str, city: str, born: str | None) -> Contact:
    return Contact(
        id,
        name,
        location=_location(),
        url=f"https://crm.example.com/contacts/{id}",
        fields={
            gettext("Phone"): "+1 202 555 0117",
            gettext("City"): city,
            gettext("Born"): born,
        },
    )


def _merge() -> Merge:
    return Merge(
        (
            _contact("17", "Hopper, Grace", "Arlington", None),
            _contact("42", "Grace Hopper", "New York", gettext("9 December 1906")),
        ),
        requester=_BEN,
        reason=gettext("They have the same telephone number."),
        url="https://crm.example.com/merge?a=17&b=42",
    )


def _request(settings: MessagingSettings) -> Sample:
    whom = Addressees(kind=Kind.REQUEST, source="merge_denied", locations=(_location(),))
    return Sample(names=merge_content.context_of(_merge(), settings), whom=whom, user=_BEN)


def _completed(settings: MessagingSettings) -> Sample:
    whom = Addressees(kind=Kind.NOTIFICATION, source="merge_completed", to=(_ADA,))
    return Sample(names=merge_content.context_of(_merge(), settings), whom=whom, user=_BEN)


def _digest(_: MessagingSettings) -> Sample:
    first, second = (contact.name for contact in _merge().contacts)
    subject = gettext("Please merge: %(first)s and %(second)s", first=first, second=second)
    text = gettext(
        "%(requester)s would like to merge these two contacts, which look like duplicates, but "
        "isn't allowed to:",
        requester=_BEN.name,
    )
    summary = Summary(
        kind=Kind.REQUEST,
        count=4,
        entries=(
            Entry(subject=subject, who=_BEN.name, at=_AT, text=text, cut=True),
            Entry(
                subject=gettext("The import is done"),
                who=None,
                at=_AT,
                text=gettext("412 contacts came in."),
                cut=False,
                files=("log.txt",),
                missing=("all.csv",),
            ),
        ),
        others=((subject, 2),),
        further=0,
        attachments=(),
        locale=None,
    )
    return Sample(names=summary.context())


def _not_delivered(_: MessagingSettings) -> Sample:
    names = {
        "subject": gettext("The import is done"),
        "attempts": 12,
        "written": _AT,
        "missed": [("ada.moreau@example.com", "550 5.1.1 No such user here")],
    }
    return Sample(names=names, whom=Addressees(kind=Kind.NOTIFICATION, source="notice"))


def _test(settings: MessagingSettings) -> Sample:
    names = {
        "to": settings.default_to,
        "sender": settings.default_from,
        "tester": None,
        "server": settings.server,
        "port": relay_of(settings).port,
    }
    to, copy = Party("", settings.default_to), Party("", settings.default_from)
    return Sample(names=names, whom=Addressees(kind="test", source="test", to=(to,), cc=(copy,)))


_SAMPLES: Final[Mapping[str, Callable[[MessagingSettings], Sample]]] = {
    "digest": _digest,
    "merge_completed": _completed,
    "merge_request": _request,
    "not_delivered": _not_delivered,
    "settings_test": _test,
}
SHIPPED: Final = frozenset(_SAMPLES)  # names of templates
