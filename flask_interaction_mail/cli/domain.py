"""``domain``: what the DNS of a domain says about mail from it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..addresses import domain_of
from ..domains.findings import Finding
from ..domains.look import look
from ..messages.sender import default_from
from ..state import state_of
from ..text import legible
from .output import as_json, dump, fail, main, say


@main.command()
@click.argument("domain", required=False)
@click.option("--selector", "selectors", multiple=True, help="The name of a DKIM key.")
@as_json
def domain(domain: str | None, selectors: Sequence[str], as_json: bool) -> None:
    """Look up what DNS says about mail from DOMAIN: MX, SPF, DKIM and DMARC.

    By default it is the domain of the default From. The exit status is 0 if everything is fine, 1
    if something is missing, wrong, or could not be checked.
    """
    state = state_of()
    settings = state.settings.current().settings
    report = look(
        domain or domain_of(default_from(settings).address),
        selectors=selectors,
        relay=settings.server,
        name_servers=state.config.name_servers,
    )
    if as_json:
        dump(report.to_json())
    else:
        for found in report.findings:
            _show(found)
    if not report.fine:
        fail(f"Not everything is fine with {report.domain}.")


def _show(found: Finding) -> None:
    say(f"[{found.kind}] {found.topic}: {found.text} ({found.term})")
    if record := found.record:
        say(f"    {record.name}. {record.type} {_quoted(record.value)}")


def _quoted(value: str) -> str:
    """``value`` as a zone file has it: in strings of at most 255 characters (RFC 1035 §3.3)."""
    text = legible(value).replace("\\", "\\\\").replace('"', '\\"')
    return " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
