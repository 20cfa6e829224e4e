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
from ..messages.compose import Identity, RoutingContext, failed_message, shared_by
from ..messages.headers import check_header
from ..messages.intent import MAILING, Addressees, Intent
from ..messages.message import NewMessage, id_of_key, new_id
from ..outbox import keys, messages
from ..outbox.insert import fitted
from ..state import State, state_of
from ..unit_of_work.writer import store_now
from ..values import Kind, Party, Priority, Status
from .sending import CURRENT_USER, Sender, To, Wording, actor_of, details, plain_texts, texts_of

PersonalContext = Mapping[str, Any] | Callable[[Party], Mapping[str, Any]] | None
_LARGEST_BATCH: Final = 5000  # messages


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

    def messages(self, people: Iterable[Party]) -> list[NewMessage]:
        """The messages for ``people``, without those that are stored already."""
        keyed = [(None if self.key is None else _key(self.key, party), party) for party in people]
        with self.state.database.reading() as connection:
            settings = self.state.settings.current(connection).settings
            uses = keys.uses_of(connection, [key for key, _ in keyed if key is not None])
        context = operations.routing_context(self.state, settings, ())
        if settings.configured:
            # With an unsubscribe link each message has header fields of its own.
            common = self.intent._replace(headers=()) if self.unsubscribe else self.intent
            shared = shared_by(common, context, texts=self.wording.template is None)
            context = context._replace(shared=shared)
        if self.key is None:
            return [self._message(party, self._identity(new_id()), context) for _, party in keyed]
        # Each key once, however often the batch names its party.
        free = {key: party for key, party in keyed if key and uses[key].taken_by is None}
        return [
            self._message(party, self._keyed_identity(key, uses[key].next), context)
            for key, party in free.items()
        ]

    def _identity(self, id: uuid.UUID) -> Identity:
        due_at, expires_at = self.span
        return Identity(
            id=id, origin=self.origin, actor=self.actor, due_at=due_at, expires_at=expires_at
        )

    def _keyed_identity(self, key: str, number: int) -> Identity:
        return self._identity(id_of_key(key, number))._replace(key=key, key_number=number)

    def _message(self, party: Party, identity: Identity, context: RoutingContext) -> NewMessage:
        """The message for ``party``; a failed one where their address cannot be used."""
        headers = (*self.intent.headers, *self._list_headers(party))
        intent = self.intent._replace(to=(party,), headers=headers)
        if self.wording.template is not None:
            whom = Addressees(kind=intent.kind, source=MAILING, to=intent.to)
            texts, context = texts_of(self._personal(party), self.state, whom, context)
            intent = intent.saying(texts)
        try:
            if addresses.is_blank(party.email):  # the default To would stand in
                recipients.resolve(party, context.settings)
            return operations.compose_in(self.state, intent, identity, context)
        except AddressError as error:
            failed = failed_message(intent, identity, context, error)
            return fitted(failed, self.state.database.limits)

    def _personal(self, party: Party) -> Wording:
        names = self.context(party) if callable(self.context) else self.context
        named = {"party": party, **arguments.mapping("context", names)}
        return self.wording._replace(context=named)

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
