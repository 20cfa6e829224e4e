"""What a merge request would come to under some settings. Nothing is stored or sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import operations
from ..errors import AddressError, InteractionMailError, MessagingNotConfigured
from ..messages.compose import Identity, RoutingContext, compose_message
from ..messages.explain import explain
from ..messages.merge_request import locations_of, request_intent
from ..messages.route import SenderHeaders
from ..settings.model import MessagingSettings
from ..state import State
from ..values import Merge


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


def dry_runs(state: State, merge: Merge, drafts: Sequence[MessagingSettings]) -> list[DryRun]:
    """The request for ``merge`` under each of ``drafts``; the directory is asked once for all."""
    context = operations.routing_context(state, drafts[0], locations_of(merge))
    return [_dry_run(state, merge, context._replace(settings=settings)) for settings in drafts]


def _dry_run(state: State, merge: Merge, context: RoutingContext) -> DryRun:
    settings = context.settings
    try:
        found = explain(context, merge.requester)
    except (MessagingNotConfigured, AddressError) as problem:
        return DryRun(settings=settings, error=str(problem))
    content, error = None, found.error
    if error is None:
        try:
            intent = request_intent(state.app, merge, context)
            content = compose_message(intent, Identity.fresh(), context).content
        except InteractionMailError as problem:
            error = str(problem)
    return DryRun(
        settings=settings,
        to=found.to,
        sender=found.sender,
        route=found.route,
        content=content,
        error=error,
    )
