"""The connection of a mailbox on the page of the settings: shown, begun, answered, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask import flash, request, url_for

from .. import language
from ..errors import InteractionMailError
from ..language import gettext
from ..settings.layers import InForce
from ..settings.model import relay_of
from ..settings.relay import DEFAULT, Relay
from . import texts
from .csrf import of_session
from .panel_view import current_actor, state

if TYPE_CHECKING:
    from ..outbox.consents import Consent, Seen


class Mailbox(NamedTuple):
    """What the page shows of it.

    ``redirect_url`` is to be registered at the provider. ``ready`` says that the settings in force
    need a consent, and have all that is needed to ask for it.
    """

    redirect_url: str
    ready: bool = False
    address: str = ""
    seen: Seen | None = None
    other_account: bool = False  # than the one that has the mailbox

    @property
    def consent(self) -> Consent | None:
        """What was agreed to."""
        return self.seen.consent if self.seen else None


def shown(present: InForce, name: str) -> Mailbox:
    """The connection of the relay ``name`` under the settings ``present``."""
    relay = _relay(present, name)
    if not relay.by_consent or present.of(name).login_advice:
        return Mailbox(redirect_url())
    from ..delivery import connecting  # late: few mailboxes are connected

    seen = connecting.seen_at(state(), relay)
    agreed = seen.consent if seen else None
    return Mailbox(
        redirect_url(),
        ready=True,
        address=relay.login or "",
        seen=seen,
        other_account=agreed is not None and relay.is_not_for(agreed.account),
    )


def anchor(name: str) -> str:
    """Where the connection of the relay ``name`` stands on the page."""
    return "im-mailbox" if name == DEFAULT else f"im-mailbox-{name}"


def redirect_url() -> str:
    """Where the provider sends the browser: a complete URL, as browsers see it.

    Without ``INTERACTION_MAIL_PUBLIC_URL`` the request says what stands before the path.
    """
    base = state().config.public_url
    if base is None:
        return url_for("interaction_mail.connected", _external=True)
    path = url_for("interaction_mail.connected", _external=False)
    return base + path.removeprefix(request.script_root)


def connect(present: InForce) -> str | None:
    """Begin; gives the URL where the person agrees, None if there is nothing to agree to."""
    from ..delivery import connecting

    try:
        return connecting.begin(
            state(),
            _relay(present, named(present)),
            session=of_session(),
            redirect_url=redirect_url(),
            by=current_actor(),
        )
    except InteractionMailError as error:
        flash(language.translated(error), "error")
        return None


def finish(present: InForce) -> str:
    """Take the provider's answer in this request, and say what came of it; gives the relay."""
    from ..delivery import connecting

    answer = request.args.to_dict()
    relays = [_relay(present, name) for name in present.settings.relays]
    try:
        relay, agreed = connecting.finish(state(), relays, session=of_session(), answer=answer)
    except InteractionMailError as error:
        text = gettext("Nothing was connected. %(why)s", why=language.translated(error))
        flash(text, "error")
        return DEFAULT
    flash(gettext("The mailbox is connected. Test the settings now."), "success")
    if relay.is_not_for(agreed.account):
        text = gettext(texts.OTHER_ACCOUNT, account=agreed.account or "", mailbox=relay.login or "")
        flash(text, "warning")
    return relay.name


def disconnect(present: InForce) -> None:
    """End it, and say what came of it."""
    from ..delivery import connecting

    try:
        relay = _relay(present, named(present))
        told = connecting.disconnect(state(), relay, by=current_actor())
    except InteractionMailError as error:
        flash(language.translated(error), "error")
        return
    flash(gettext("The mailbox is not connected any more. Mail waits."), "success")
    if not told:
        flash(
            gettext(
                "The provider was not told: the person may also remove this application there, "
                "among the applications that have access to the account."
            ),
            "warning",
        )


def named(present: InForce) -> str:
    """The relay whose button was pressed."""
    name = request.form.get("relay", DEFAULT)
    return name if name in present.settings.relays else DEFAULT


def _relay(present: InForce, name: str) -> Relay:
    return relay_of(present.settings.with_relay(name))
