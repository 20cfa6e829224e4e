"""What a merge request would come to under some settings. Nothing is stored or sent."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask

from ..errors import AddressError, InteractionMailError, MessagingNotConfigured
from ..settings.model import MessagingSettings
from ..values import Merge
from .compose import Identity, RoutingContext, compose_message
from .explain import explain
from .merge_request import request_intent
from .route import SenderHeaders


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


def dry_run(app: Flask, merge: Merge, context: RoutingContext) -> DryRun:
    """The request for ``merge`` in ``context``."""
    settings = context.settings
    try:
        found = explain(context, merge.requester)
    except (MessagingNotConfigured, AddressError) as problem:
        return DryRun(settings=settings, error=str(problem))
    content, error = None, found.error
    if error is None:
        try:
            intent = request_intent(app, merge, context)
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
