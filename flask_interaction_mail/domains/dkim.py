"""Whether there are keys for the signatures of a domain (RFC 6376, RFC 8301, RFC 8463).

Keys cannot be listed: only the one with a known name, its selector, can be asked for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..language import gettext
from .answers import Ask
from .findings import Finding, Kind, Topic, finding, unknown
from .providers import Provider, usual_selectors
from .tags import tags_of

_SELECTOR = re.compile(
    r"(?=.{1,190}\Z)[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)*", re.I
)
_LEAST, _RECOMMENDED = 1024, 2048  # bits of an RSA key (RFC 8301 §3.2)
_ED25519 = 32  # bytes of a key (RFC 8463 §4.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dkim:
    """The selectors under which there is a key that can be used, and what was found."""

    selectors: tuple[str, ...]
    findings: tuple[Finding, ...]


class WrongKey(ValueError):
    """A record that holds no usable key; the text says why, in a few words for the reader."""


def examine(
    domain: str, ask: Ask, selectors: Sequence[str] = (), provider: Provider | None = None
) -> Dkim:
    """Look for the keys of ``domain`` under ``selectors`` or, without any, under the usual ones."""
    names = selectors or usual_selectors(provider)
    found = {each: tuple(_under(domain, each, ask)) for each in names}
    findings = [one for each in found.values() for one in each]
    if not selectors:
        findings = _of_usual(domain, findings, names)
    usable = [name for name, said in found.items() if said and all(map(_is_usable, said))]
    return Dkim(selectors=tuple(usable), findings=tuple(findings))


def _of_usual(domain: str, said: Sequence[Finding], tried: Sequence[str]) -> list[Finding]:
    """What the guesses came to: keys if there are any; else that nothing is known."""
    # A wildcard answers for every name: what holds no key says nothing.
    keys = [one for one in said if one.code not in ("dkim_none", "dkim_syntax", "dkim_unknown")]
    working = [one for one in keys if one.code != "dkim_revoked"]
    if working or keys:
        return working or keys[:1]
    unanswered = [one for one in said if one.kind is Kind.UNKNOWN]
    return unanswered[:1] or [finding("dkim_no_selector", domain=domain, tried=", ".join(tried))]


def _is_usable(found: Finding) -> bool:
    return found.code in ("dkim_fine", "dkim_weak", "dkim_testing")


def _under(domain: str, selector: str, ask: Ask) -> Iterator[Finding]:
    if not _SELECTOR.fullmatch(selector):
        yield finding("dkim_selector", selector=selector)
        return
    name = f"{selector}._domainkey.{domain}"
    answer = ask(name, "TXT")
    if answer.unknown:
        yield unknown(Topic.DKIM, answer)
    elif not answer.records:
        yield finding("dkim_none", selector=selector, name=name)
    elif len(answer.records) > 1:
        yield finding("dkim_several", selector=selector, count=len(answer.records))
    else:
        yield from _of_record(selector, answer.records[0])


def _of_record(selector: str, record: str) -> Iterator[Finding]:
    tags = tags_of(record)
    try:
        if tags is None:
            raise WrongKey(gettext("a tag stands there twice"))
        if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
            raise WrongKey(gettext("it does not begin with v=DKIM1"))
        if "p" not in tags:
            raise WrongKey(gettext("there is no p="))
        if not tags["p"]:
            yield finding("dkim_revoked", selector=selector)
            return
        kind, bits = _key(tags.get("k", "rsa"), tags["p"])
    except WrongKey as error:
        yield finding("dkim_syntax", selector=selector, problem=error)
        return
    yield _of_length(selector, kind, bits)
    yield from _of_flags(selector, tags)


def _of_length(selector: str, kind: str, bits: int) -> Finding:
    if kind == "rsa" and bits < _RECOMMENDED:
        return finding(
            "dkim_weak" if bits >= _LEAST else "dkim_short", selector=selector, bits=bits
        )
    key = gettext("RSA, %(bits)s bits", bits=bits) if kind == "rsa" else "Ed25519"
    return finding("dkim_fine", selector=selector, key=key)


def _of_flags(selector: str, tags: dict[str, str]) -> Iterator[Finding]:
    if "y" in _words(tags.get("t", "")):
        yield finding("dkim_testing", selector=selector)
    if not {"*", "email"} & _words(tags.get("s", "*")):
        yield finding("dkim_service", selector=selector)


def _words(value: str) -> set[str]:
    return {word.strip() for word in value.split(":")}


def _key(kind: str, value: str) -> tuple[str, int]:
    """The kind and length in bits of the key in ``p=``.

    Raises:
        WrongKey: it is not a key of this kind.
    """
    try:
        raw = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongKey(gettext("p= is not base64, or was cut")) from error
    if kind == "ed25519":
        if len(raw) != _ED25519:
            raise WrongKey(gettext("p= is not an Ed25519 key"))
        return kind, 8 * _ED25519
    if kind != "rsa":
        raise WrongKey(gettext("k=%(kind)s is not a kind of key", kind=kind))
    return kind, _rsa_bits(raw)


def _rsa_bits(raw: bytes) -> int:
    from cryptography.exceptions import UnsupportedAlgorithm  # late: 50 ms, and few need it
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WrongKey(gettext("p= is not an RSA key, or was cut")) from error
    if not isinstance(key, RSAPublicKey):
        raise WrongKey(gettext("p= is not an RSA key"))
    return key.key_size
