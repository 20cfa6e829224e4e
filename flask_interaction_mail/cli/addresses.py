"""``addresses dead|mended``: addresses that do not exist any more, as reports say."""

from __future__ import annotations

import click

from .. import operations
from ..clock import from_db
from ..state import state_of
from .output import Commands, as_json, dump, fail, main, operator, say


@main.group(cls=Commands)
def addresses() -> None:
    """Look at addresses that do not exist any more."""


@addresses.command()
@as_json
def dead(as_json: bool) -> None:
    """List the addresses that mail servers report as dead, of two messages a day apart."""
    found = operations.dead_addresses(state_of()).values()
    lines = [
        {
            "address": one.address,
            "messages": one.messages,
            "since": from_db(one.since).isoformat(),
            "last": from_db(one.last).isoformat(),
            "code": one.code,
        }
        for one in found
    ]
    if as_json:
        dump(lines)
        return
    for line in lines:
        say(
            f"{line['address']}: {line['messages']} messages came back ({line['code']}), "
            f"sent from {line['since']} to {line['last']}"
        )
    if not lines:
        say("There are none.")


@addresses.command()
@click.argument("address")
@as_json
def mended(address: str, as_json: bool) -> None:
    """Count ADDRESS as one that exists again."""
    if not operations.mend(state_of(), address.strip(), by=operator()):
        fail(f"nothing that came back says that {address} does not exist.")
    if as_json:
        dump({"address": address.strip()})
    else:
        say(f"{address} counts as an address that exists.")
