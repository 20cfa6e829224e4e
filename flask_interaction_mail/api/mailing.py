"""``send_each``: one message for each of many people, stored batch by batch."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from .. import addresses, clock, operations
from ..errors import AddressError, ContentError
from ..messages import arguments, recipients
from ..messages.attachments import AttachmentLike
from ..messages.compose import (
    Draft,
    Identity,
    RoutingContext,
    Shared,
    check_configured,
    failed_message,
    route,
    shared_by,
    with_all,
    with_texts,
)
from ..messages.headers import check_header
from ..messages.intent import MAILING, Addressees, Intent, Texts
from ..messages.message import NewMessage, id_of_key, new_id
from ..messages.recipients import Routing
from ..outbox import keys, messages
from ..outbox.insert import fitted
from ..state import State, state_of
from ..unit_of_work.writer import store_now
from ..values import Kind, Party, Priority, Status
from .sending import (
    CURRENT_USER,
    Sender,
    To,
    Wording,
    actor_of,
    details,
    plain_texts,
    texts_of_each,
)

PersonalContext = Mapping[str, Any] | Callable[[Party], Mapping[str, Any]] | None
_LARGEST_BATCH: Final = 5000  # messages
_TOGETHER: Final = 100  # messages that are composed step by step


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a mailing has come to: numbers of people.

    ``queued`` get a message. ``known`` had got theirs by an earlier call with the same key.
    ``suppressed`` may not be mailed, or the application suppresses all mail. ``failed`` have no
    address that can be used. All but the known ones stand in the outbox, each with its reason.
    """

    queued: int = 0
    known: int = 0
    suppressed: int = 0
    failed: int = 0
    began_at: datetime
    id: uuid.UUID

    def ids(self) -> Iterator[uuid.UUID]:
        """The ids of the messages that this call stored, read from the outbox; in no order.

        Needs an app context.
        """
        database, place = state_of().database, (clock.to_db(self.began_at), uuid.UUID(int=0))
        while True:
            with database.reading() as connection:
                found = messages.of_origin(connection, self.id, place)
            if not found:
                return
            yield from (id for _, id in found)
            place = found[-1]


def send_each(
    parties: Iterable[Party],
    subject: str | None = None,
    *,
    text: str | None = None,
    html: str | None = None,
    template: str | None = None,
    context: PersonalContext = None,
    reply_to: To = None,
    sender: Party | str | Sender | None = CURRENT_USER,
    headers: Mapping[str, str] | None = None,
    unsubscribe: Callable[[Party], str | None] | None = None,
    attachments: Iterable[AttachmentLike | tuple[str | None, str | None, bytes]] = (),
    kind: str = Kind.NOTIFICATION,
    key: str | None = None,
    priority: str = Priority.BULK,
    metadata: Mapping[str, str] | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    batch: int = 500,
    progress: Callable[[Sent], object] | None = None,
) -> Sent:
    """Queue one message for each of ``parties``, and commit them at once, batch by batch.

    It does its work at the call, each batch in a transaction of its own: a rollback of
    ``db.session`` takes nothing back. Where it raises, the batches before stay. It keeps no more
    than one batch in memory, so ``parties`` may be a generator.

    Nobody sees who else got it, and the default To gets nothing. What it stores does not count for
    the rate of the user who caused it.

    Args:
        parties: each gets one message; one without an address that can be used is stored as
            failed, with the reason.
        context: the names for ``template``: a mapping for all, or a function of the party. A
            template also has ``party``.
        unsubscribe: gives the URL where this party can leave the list, with one click (RFC 8058):
            ``https``, and answering to POST without a login. None for no such URL.
        key: with it, repeating the call after a crash sends only the rest: each message has a key
            that is made of it, and of the ``id`` of its party, or of the address without an id.
        batch: messages in one transaction, 1 to 5,000.
        progress: called after each commit with what there is so far.

    The other arguments are those of ``send_notification``.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
        AddressError, HeaderError, ContentError: an argument that cannot be sent; it is named.
        ArgumentError: an argument of a wrong type.
        TemplateMissing: no such template, or it cannot be rendered.
        TablesMissing: the tables are not there yet.
        InteractionMailError: ``db.session`` has written and not committed, on SQLite: its lock
            would keep this call waiting for ever. Commit before.
    """
    state = state_of()
    intent = Intent(
        kind=_informing(arguments.kind(kind)),
        source=MAILING,
        **details(
            state,
            reply_to=reply_to,
            sender=sender,
            headers=headers,
            attachments=attachments,
            priority=priority,
            metadata=metadata,
        ),
    )
    wording = Wording(subject, text, html, arguments.text("template", template), None)
    mailing = _Mailing(
        state=state,
        wording=wording,
        context=context,
        unsubscribe=unsubscribe,
        key=None if key is None else arguments.key(key),
        span=arguments.span(send_at, expires_at),
        intent=intent.saying(plain_texts(wording)) if wording.template is None else intent,
        actor=actor_of(intent.user),
    )
    if not 1 <= batch <= _LARGEST_BATCH:
        raise ContentError(f"batch takes a number from 1 to {_LARGEST_BATCH}, not {batch!r:.80}.")
    if isinstance(parties, Party | str | Mapping):
        raise arguments.wrong("parties", "a sequence of parties", parties)
    sent, left = Sent(began_at=clock.from_db(clock.now()), id=mailing.origin), iter(parties)
    while people := [arguments.party("parties", given) for given in islice(left, batch)]:
        state.database.refuse_own_lock(state.db.session())
        stored = store_now(state, mailing.messages(people))
        sent = _with(sent, stored, known=len(people) - len(stored))
        if progress is not None:
            progress(sent)
    return sent


def _with(sent: Sent, stored: Sequence[NewMessage], *, known: int) -> Sent:
    """``sent`` with a batch more."""
    statuses = [message.status for message in stored]
    return replace(
        sent,
        queued=sent.queued + statuses.count(Status.QUEUED),
        known=sent.known + known,
        suppressed=sent.suppressed + statuses.count(Status.SUPPRESSED),
        failed=sent.failed + statuses.count(Status.FAILED),
    )


def _informing(kind: str) -> str:
    if kind == Kind.REQUEST:
        raise ContentError(
            "kind='request' has to reach somebody, the default To if nobody else: call "
            "send_notification for it."
        )
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mailing:
    """What all messages of a mailing have in common."""

    state: State
    wording: Wording
    context: PersonalContext
    unsubscribe: Callable[[Party], str | None] | None
    key: str | None
    span: tuple[datetime | None, datetime | None]
    intent: Intent  # with its texts, unless each has their own
    actor: str | None
    origin: uuid.UUID = field(default_factory=new_id)

    def messages(self, people: Sequence[Party]) -> list[NewMessage]:
        """The messages for ``people``, without those that are stored already."""
        keys_of = [] if self.key is None else [_key(self.key, party) for party in people]
        with self.state.database.reading() as connection:
            settings = self.state.settings.current(connection).settings
            uses = keys.uses_of(connection, keys_of)
        context = operations.routing_context(self.state, settings, ())
        context = context._replace(shared=self._shared(context))
        if self.key is None:
            named = [(self._identity(new_id()), party) for party in people]
        else:
            # Each key once, however often the batch names its party.
            free = {
                key: (self._identity(id_of_key(key, uses[key].next), key, uses[key].next), party)
                for key, party in zip(keys_of, people, strict=True)
                if uses[key].taken_by is None
            }
            named = [*free.values()]
        parts = (named[at : at + _TOGETHER] for at in range(0, len(named), _TOGETHER))
        return [message for part in parts for message in self._composed(part, context)]

    def _composed(
        self, named: Sequence[tuple[Identity, Party]], context: RoutingContext
    ) -> Iterator[NewMessage]:
        """The messages of ``named``; a failed one where an address cannot be used."""
        people = [party for _, party in named]
        routed = [
            self._routed(identity, intent, routing, context)
            for (identity, _), (intent, routing) in zip(
                named, self._intents(people, context), strict=True
            )
        ]
        drafts = [one for one in routed if isinstance(one, Draft)]
        composed = iter(operations.compose_all(self.state, drafts, context))
        return (next(composed) if isinstance(one, Draft) else one for one in routed)

    def _intents(
        self, people: Sequence[Party], context: RoutingContext
    ) -> Iterable[tuple[Intent, Routing | None]]:
        """What each of ``people`` is told, with the route that was decided for its texts."""
        intents = [
            self.intent._replace(
                to=(party,), headers=(*self.intent.headers, *self._list_headers(party))
            )
            for party in people
        ]
        if self.wording.template is None:
            return [(intent, None) for intent in intents]
        written = self._written(people, context)
        return [
            (intent.saying(texts), routing)
            for intent, (texts, routing) in zip(intents, written, strict=True)
        ]

    def _written(
        self, people: Sequence[Party], context: RoutingContext
    ) -> Iterator[tuple[Texts, Routing | None]]:
        """What the template says to each of ``people``, those with one language together."""
        readers: dict[str | None, list[tuple[Addressees, Mapping[str, Any]]]] = {}
        for party in people:
            whom = Addressees(kind=self.intent.kind, source=MAILING, to=(party,))
            readers.setdefault(party.locale, []).append((whom, self._names(party)))
        written = {
            locale: iter(texts_of_each(self.wording, self.state, some, context, locale=locale))
            for locale, some in readers.items()
        }
        return (next(written[party.locale]) for party in people)

    def _routed(
        self, identity: Identity, intent: Intent, routing: Routing | None, context: RoutingContext
    ) -> Draft | NewMessage:
        (party,) = intent.to
        try:
            if addresses.is_blank(party.email):  # the default To would stand in
                recipients.resolve(party, context.settings)
            return Draft(intent, intent, identity, routing or route(intent, context))
        except AddressError as error:
            failed = failed_message(intent, identity, context, error)
            return fitted(failed, self.state.database.limits)

    def _shared(self, context: RoutingContext) -> Shared:
        check_configured(context.settings)
        # With an unsubscribe link each message has header fields of its own.
        common = self.intent._replace(headers=()) if self.unsubscribe else self.intent
        shared = shared_by(common, context)
        if self.wording.template is not None:
            return shared
        if self.unsubscribe:
            return with_texts(shared)
        return with_all(shared, context, self.span[0])

    def _identity(self, id: uuid.UUID, key: str | None = None, number: int = 0) -> Identity:
        due_at, expires_at = self.span
        return Identity(
            id=id,
            origin=self.origin,
            key=key,
            actor=self.actor,
            due_at=due_at,
            expires_at=expires_at,
            key_number=number,
        )

    def _names(self, party: Party) -> Mapping[str, Any]:
        names = self.context(party) if callable(self.context) else self.context
        return {"party": party, **arguments.mapping("context", names)}

    def _list_headers(self, party: Party) -> tuple[tuple[str, str], ...]:
        url = None if self.unsubscribe is None else self.unsubscribe(party)
        if url is None:
            return ()
        if not url.startswith("https://"):
            raise ContentError(f"unsubscribe must give https:// URLs or None, not {url!r:.80}.")
        return (
            ("List-Unsubscribe", check_header("List-Unsubscribe", f"<{url}>")),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        )


def _key(key: str, party: Party) -> str:
    """The key of the message for ``party``."""
    named = party.email if party.id is None else f"{party.kind}:{party.id}"
    return arguments.key(f"{key}:{named}")
