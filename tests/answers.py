"""A name service of a few lines, for the rules that are given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask_interaction_mail.domains.answers import Answer, Ask, Found

Zone = Mapping[str, Sequence[str] | None]


def answers(zone: Zone) -> Ask:
    """A function that answers from ``zone``: name -> records such as ``TXT v=spf1 -all``.

    None means that the name cannot be checked.
    """

    def ask(name: str, type: str) -> Answer:  # noqa: A002 - as in the package
        name = name.lower().removesuffix(".")
        if name in zone and zone[name] is None:
            return Answer(name=name, type=type, found=Found.UNKNOWN, problem="SERVFAIL")
        each = [text.partition(" ") for text in zone.get(name) or ()]
        records = tuple(value for kind, _, value in each if kind == type)
        if records:
            return Answer(name=name, type=type, found=Found.RECORDS, records=records)
        there = any(known == name or known.endswith(f".{name}") for known in zone)
        return Answer(name=name, type=type, found=Found.NO_DATA if there else Found.NO_NAME)

    return ask
