"""What is set up wrongly, in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import sqlalchemy as sa

from ...errors import InteractionMailError
from ...state import State
from . import database, delivery, dialects, host, settings
from .look import Finding, Health, Look

_CHECKS: Final[dict[str, Callable[[State], Finding]]] = {
    "database": database.database,
    "tables": database.tables,
    "writing": database.writing,
    "characters": dialects.characters,
    "isolation": dialects.isolation,
    "settings": settings.settings,
    "password": settings.password,
    "keys": settings.keys,
    "configuration": host.configuration,
    "access": host.access,
    "headers": host.headers,
    "delivery": delivery.delivery,
    "application server": delivery.application_server,
    "notices": delivery.notices,
    "server": delivery.server,
    "restraints": delivery.restraints,
    "returned mail": delivery.returned_mail,
    "flask-mail": host.flask_mail,
    "flask-mailman": host.flask_mailman,
    "flask-babel": host.babel,
}


def examine(state: State) -> Iterator[Look]:
    """Look at one thing after the other; never raises."""
    for topic, check in _CHECKS.items():
        try:
            health, text = check(state)
        except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
            health, text = Health.WRONG, str(getattr(error, "orig", None) or error)
        yield Look(topic=topic, health=health, text=text)
