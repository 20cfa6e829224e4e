"""The configuration keys of the extension."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from .errors import SettingsError
from .language import translated
from .settings import fields
from .settings.amazon import server_of_topic
from .settings.cleaners import web_address
from .settings.fields import clean
from .settings.relay import OWN as OWN_WORD
from .settings.secret import Secret

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
PREFIX: Final = "INTERACTION_MAIL_"
AUTO: Final = 16  # connections at most where the configuration leaves it to us
ALERTS: Final = ("alert_url", "alert_secret")  # settings that have keys of their own
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Word = TypeVar("Word", bound=enum.StrEnum)


class DeliveryMode(enum.StrEnum):
    """Who delivers what is in the outbox."""

    THREAD = "thread"  # a thread of the web process
    WORKER = "worker"  # only ``flask interaction-mail worker``
    CELERY = "celery"  # a task of the host's Celery
    SYNC = "sync"  # the request itself, by the end of its app context


class AccessMode(enum.StrEnum):
    """Who guards the pages where the host gives no ``access`` function."""

    ADMIN = "admin"  # the index view of the host's admin
    HOST = "host"  # the host guards the URL itself: a proxy, a before_request


class Migrations(enum.StrEnum):
    """Whose Alembic chain holds the tables."""

    HOST = "host"  # the host's autogenerate sees them
    OWN = "own"  # ``flask interaction-mail db …``


class TransportKind(enum.StrEnum):
    """What hands messages over: to the server of the settings, or to something in its place."""

    SMTP = "smtp"
    OWN = OWN_WORD  # the application hands messages over in its own way
    # With the others nothing leaves.
    MEMORY = "memory"  # messages are kept in the process that delivers them
    CONSOLE = "console"  # it prints them
    FILES = "files"  # it writes them into a folder

    @property
    def stands_in(self) -> bool:
        """Whether no server is asked, whatever the settings say."""
        return self is not TransportKind.SMTP

    @property
    def stays_here(self) -> bool:
        """Whether nobody gets the mail."""
        return self not in (TransportKind.SMTP, TransportKind.OWN)


class TokenStorage(enum.StrEnum):
    """Where access tokens of OAuth 2 are kept until they end."""

    DATABASE = "database"  # encrypted: one request for all processes
    MEMORY = "memory"  # of each process: one request for each


IN_PLACE: Final = {
    TransportKind.OWN: (
        "mail is handed over by this application itself, and not to the server of the settings"
    ),
    TransportKind.MEMORY: (
        "mail stays in the memory of the process that delivers, and nobody gets it"
    ),
    TransportKind.CONSOLE: "mail is printed by the process that delivers, and nobody gets it",
    TransportKind.FILES: "mail is written into files on this machine, and nobody gets it",
}


class Config(NamedTuple):
    """The parsed keys. ``overrides`` holds cleaned settings."""

    delivery: DeliveryMode = DeliveryMode.THREAD
    transport: TransportKind = TransportKind.SMTP
    mail_folder: Path | None = None  # for the transport "files"
    open_transport: Callable[[], Any] | None = None  # for the application's own
    access: AccessMode = AccessMode.ADMIN
    migrations: Migrations = Migrations.HOST
    connections: int = AUTO  # SMTP connections per worker, at most
    rate: int = 10  # messages a minute per recipient
    actor_rate: int = 100  # messages a minute that one user causes
    lease: timedelta = timedelta(seconds=60)
    request_window: timedelta = timedelta(hours=24)
    body_retention: timedelta = timedelta(days=7)
    log_retention: timedelta = timedelta(days=90)
    returns_every: timedelta = timedelta(minutes=5)  # between two looks at the mailbox
    overrides: Mapping[str, object] = MappingProxyType({})
    deny_networks: tuple[Network, ...] = ()  # where no connection is made to
    deny_ports: frozenset[int] = frozenset()
    name_servers: tuple[tuple[str, int], ...] = ()  # IP address and port; () for the system's
    translations: tuple[str, ...] = ("translations",)  # folders with catalogues of the host
    tokens: TokenStorage = TokenStorage.DATABASE
    health_token: Secret | None = None  # of monitors; None: the page is closed
    public_url: str | None = None  # of the application, without a slash at its end
    sns_topics: tuple[str, ...] = ()  # ARNs, whose notices about mail are taken
    sendgrid_keys: tuple[bytes, ...] = ()  # public keys (DER) that sign SendGrid's events
    celery: Any = None  # the Celery object, or "package.module:name"


def parse(config: Mapping[str, Any]) -> Config:
    """The keys of the extension in ``config``, usually ``app.config``; None is "not set".

    Raises:
        SettingsError: with the text for each key that is wrong, by its name.
    """
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, parser in _PARSERS.items():
        if config.get(key := PREFIX + name.upper()) is not None:
            with _collecting(errors):
                values[name] = parser(key, config[key])
    if errors:
        raise SettingsError(errors)
    if "transport" in values:
        names = ("transport", "mail_folder", "open_transport")
        values |= zip(names, values["transport"], strict=True)
    alerts = {name: values.pop(name) for name in ALERTS if name in values}
    return Config(**values | {"overrides": {**values.get("overrides", {}), **alerts}})


def unknown(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each key that begins as ours do and is none of them."""
    known = {name.upper() for name in (*_PARSERS, "secret_keys")}
    ours = sorted(key for key in map(str, config) if key.startswith(PREFIX))
    strange = [name for key in ours if (name := key.removeprefix(PREFIX)) not in known]
    if not strange:
        return []
    from difflib import get_close_matches  # late: few keys are misspelt

    return [
        f"{PREFIX}{name} is not a key of this extension"
        + "".join(f"; is {PREFIX}{meant} meant?" for meant in get_close_matches(name, known, 1))
        for name in strange
    ]


def suppressed(config: Mapping[str, Any], transport: TransportKind = TransportKind.SMTP) -> bool:
    """Whether the application sends no mail: ``MAIL_SUPPRESS_SEND``, else ``TESTING``.

    ``TESTING`` alone suppresses nothing where ``transport`` keeps mail on this machine anyway.
    To be asked at each use: tests set ``TESTING`` after the application was made.
    """
    word = config.get("MAIL_SUPPRESS_SEND")
    if word is None:
        return bool(config.get("TESTING")) and not transport.stays_here
    return bool(word)


@contextmanager
def _collecting(errors: dict[str, str], key: str | None = None) -> Iterator[None]:
    """Put what a SettingsError says into ``errors``, under ``key`` where one is given."""
    try:
        yield
    except SettingsError as error:
        errors |= {key or name: text for name, text in error.errors.items()}


def _overrides(key: str, raw: object) -> dict[str, object]:
    values: dict[str, object] = {}
    errors: dict[str, str] = {}
    for place, name, value in _named(key, raw):
        with _collecting(errors, place):
            values[name] = clean(name, value)
    if errors:
        raise SettingsError(errors)
    return values


def _named(key: str, raw: object) -> Iterator[tuple[str, str, object]]:
    """Each value of the overrides with the place where it stands, and its name."""
    for name, value in _items(key, raw, "the names of settings to values"):
        place = f"{key}[{name!r}]"
        # Names of environment variables are in upper case on some systems.
        if str(name).lower() != fields.RELAYS:
            yield place, str(name).lower(), value
            continue
        for relay, own in _items(place, value, "the names of relays to their settings"):
            inner = f"{place}[{relay!r}]"
            for field, each in _items(inner, own, "the names of settings to values"):
                yield f"{inner}[{field!r}]", fields.typed(str(relay), str(field)), each


def _items(key: str, raw: object, what: str) -> Iterable[tuple[object, object]]:
    if not isinstance(raw, Mapping):
        raise SettingsError({key: f"must be a dictionary from {what}"})
    return raw.items()


def _word(words: type[Word]) -> Callable[[str, object], Word]:
    def parser(key: str, raw: object) -> Word:
        try:
            return words(str(raw))
        except ValueError as error:
            raise SettingsError({key: f"must be one of {', '.join(words)}, not {raw!r}"}) from error

    return parser


def _transport(
    key: str, raw: object
) -> tuple[TransportKind, Path | None, Callable[[], Any] | None]:
    """The kind; the folder of ``files:FOLDER``, seen from where the process was started; the
    function that opens a transport of the application's own."""
    if callable(raw):
        return TransportKind.OWN, None, raw
    word, colon, folder = str(raw).partition(":")
    if bool(colon) is bool(folder) is (word == TransportKind.FILES) and word != TransportKind.OWN:
        with suppress(ValueError):
            return TransportKind(word), Path(folder).absolute() if folder else None, None
    choices = "smtp, memory, console, files:FOLDER, or a function that opens a transport"
    raise SettingsError({key: f"must be one of {choices}, not {raw!r}"})


def _count(key: str, raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
        raise SettingsError({key: f"must be a whole number from 1, not {raw!r}"})
    return raw


def _connections(key: str, raw: object) -> int:
    if isinstance(raw, str) and raw.lower() == "auto":
        return AUTO
    try:
        return _count(key, raw)
    except SettingsError as error:
        text = f'must be "auto" or a whole number from 1, not {raw!r}'
        raise SettingsError({key: text}) from error


def _networks(key: str, raw: object) -> tuple[Network, ...]:
    try:
        return tuple(map(_network, _listed(raw)))
    except ValueError as error:
        text = f'must be a list of networks such as ["10.0.0.0/8", "fd00::/8"]: {error}'
        raise SettingsError({key: text}) from error


def _network(raw: object) -> Network:
    network = ipaddress.ip_network(str(raw))
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # A policy that misses what it seems to name is worse than none.
        raise ValueError(f"write {raw} as the IPv4 network that it stands for")
    return network


def _ports(key: str, raw: object) -> frozenset[int]:
    try:
        return frozenset(map(_port, _listed(raw)))
    except ValueError as error:
        text = f"must be a list of ports such as [22, 6379], not {raw!r}"
        raise SettingsError({key: text}) from error


def _port(raw: object) -> int:
    if not 0 < (port := int(str(raw))) <= 65535:  # of the text: True is no port
        raise ValueError(port)
    return port


def _name_servers(key: str, raw: object) -> tuple[tuple[str, int], ...]:
    try:
        return tuple(map(_name_server, _listed(raw)))
    except ValueError as error:
        text = f'must be a list of IP addresses such as ["10.0.0.53", "[fd00::53]:5353"]: {error}'
        raise SettingsError({key: text}) from error


def _name_server(raw: object) -> tuple[str, int]:
    address, port = str(raw), "53"
    if address.startswith("["):
        address, _, port = address[1:].partition("]")
        port = port.removeprefix(":") or "53"
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    return str(ipaddress.ip_address(address)), _port(port)


def _folders(key: str, raw: object) -> tuple[str, ...]:
    given = raw if isinstance(raw, list | tuple) else (raw,)
    if not all(isinstance(folder, str | PathLike) for folder in given):
        text = f'must be a folder such as "translations", or a list of folders, not {raw!r}'
        raise SettingsError({key: text})
    return tuple(map(str, given))


def _setting(key: str, raw: object) -> object:
    """The value of the setting that the key is named after."""
    name = key.removeprefix(PREFIX).lower()
    try:
        return clean(name, raw)
    except SettingsError as error:
        raise SettingsError({key: error.errors[name]}) from error


def _token(key: str, raw: object) -> Secret:
    if isinstance(raw, str) and not raw.strip():
        raise SettingsError({key: "must not be empty: without the key the page is closed"})
    if not isinstance(raw, str) or not _TOKEN.fullmatch(raw.strip()):
        why = "must be a text of letters, digits and - . _ ~ + /, at its end also ="
        raise SettingsError({key: f"{why}: others do not fit in an Authorization header"})
    return Secret(raw.strip())


def _public_url(key: str, raw: object) -> str:
    try:
        url = web_address(raw)
        parts = urlsplit(url or "")
    except ValueError as error:
        raise SettingsError({key: translated(error)}) from error
    if not url or parts.query:
        text = f'must be the URL of the application, such as "https://crm.example.com", not {raw!r}'
        raise SettingsError({key: text})
    return url.rstrip("/")


def _topics(key: str, raw: object) -> tuple[str, ...]:
    topics = tuple(map(str, _listed(raw)))
    try:
        for topic in topics:
            server_of_topic(topic)
    except ValueError as error:
        example = "arn:aws:sns:eu-west-1:123456789012:mail"
        raise SettingsError(
            {key: f'must be a list of topics such as ["{example}"]: {error}'}
        ) from error
    return topics


def _public_keys(key: str, raw: object) -> tuple[bytes, ...]:
    from .returned.signatures import public_key  # late: 50 ms, and few need it

    try:
        return tuple(public_key(str(text)) for text in _listed(raw))
    except ValueError as error:
        text = "must be a list of verification keys, as SendGrid shows them: one is none"
        raise SettingsError({key: text}) from error


def _listed(raw: object) -> Iterable[object]:
    """What stands in a list, in a text with commas, or alone: environment variables have all."""
    if isinstance(raw, str):
        return raw.replace(",", " ").split()
    return raw if isinstance(raw, list | tuple | set | frozenset) else (raw,)


def _duration(unit: str) -> Callable[[str, object], timedelta]:
    def parser(key: str, raw: object) -> timedelta:
        try:
            span = raw if isinstance(raw, timedelta) else timedelta(**{unit: _count(key, raw)})
        except (SettingsError, OverflowError) as error:
            text = f"must be a whole number of {unit} from 1, or a timedelta, not {raw!r}"
            raise SettingsError({key: text}) from error
        if span <= timedelta(0):
            raise SettingsError({key: f"must be longer than nothing, not {raw!r}"})
        return span

    return parser


_PARSERS: Final[dict[str, Callable[[str, object], object]]] = {
    "delivery": _word(DeliveryMode),
    "transport": _transport,
    "access": _word(AccessMode),
    "migrations": _word(Migrations),
    "tokens": _word(TokenStorage),
    "connections": _connections,
    "rate": _count,
    "actor_rate": _count,
    "lease": _duration("seconds"),
    "request_window": _duration("hours"),
    "body_retention": _duration("days"),
    "log_retention": _duration("days"),
    "returns_every": _duration("minutes"),
    "overrides": _overrides,
    "deny_networks": _networks,
    "deny_ports": _ports,
    "name_servers": _name_servers,
    "translations": _folders,
    "health_token": _token,
    "public_url": _public_url,
    "sns_topics": _topics,
    "sendgrid_keys": _public_keys,
    **dict.fromkeys(ALERTS, _setting),
    "celery": lambda _key, raw: raw,  # looked at when it is needed: Celery is an extra
}
