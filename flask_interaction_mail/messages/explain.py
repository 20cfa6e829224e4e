"""Who would get a merge request, as whom, and why. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AddressError, MessagingNotConfigured, NoRecipient
from ..language import translated
from ..settings.model import MessagingSettings
from ..values import Party
from .compose import RoutingContext, not_configured_text
from .recipients import route_merge
from .route import SenderHeaders
from .sender import choose_sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The recipients, the sender, and the sentences that say why; ``error`` if nobody is asked.

    All sentences are in the language that is spoken.
    """

    to: tuple[str, ...]
    sender: SenderHeaders
    route: tuple[str, ...]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A request as it would be under ``settings``; ``error`` says why there would be none.

    ``content`` are the bytes of the message, None if there would be none.
    """

    settings: MessagingSettings
    to: tuple[str, ...] = ()
    sender: SenderHeaders | None = None
    route: tuple[str, ...] = ()
    content: bytes | None = None
    error: str | None = None


def explain(context: RoutingContext, requester: Party | None) -> Explanation:
    """What a merge request of ``requester`` would come to in ``context``.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
    """
    settings = context.settings
    if not settings.configured:
        raise MessagingNotConfigured(not_configured_text(settings))
    to: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    error = None
    try:
        routing = route_merge(context.candidates, settings, context.dead)
        to, route = tuple(map(str, routing.to)), tuple(step.text for step in routing.steps)
    except (NoRecipient, AddressError) as problem:
        error = translated(problem)
    sender = choose_sender(settings, user=requester, via=context.organisation)
    route += tuple(step.text for step in sender.steps)
    return Explanation(to=to, sender=sender, route=route, error=error)
