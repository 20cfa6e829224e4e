"""Amazon's notification service on loopback: signs notices, and has its certificate by HTTPS."""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from flask_interaction_mail import clock
from flask_interaction_mail.transport import http
from flask_interaction_mail.transport.smtp import connect, tls
from flask_interaction_mail.transport.smtp.connect import Endpoint

from .answering import answering
from .certificates import pki

HOST = "sns.eu-west-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE = f"https://{HOST}/SimpleNotificationService-0123456789abcdef.pem"
TOKEN = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92"
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - theirs


@cache
def _key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str = "ours", *, days: int = 1) -> bytes:
    """A certificate (PEM) of the key ``name`` that ends in so many days."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(_key(name).public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(_key(name), hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def notice(
    message: object = None,
    kind: str = "Notification",
    *,
    version: str = "2",
    key: str = "ours",
    **changes: Any,
) -> dict[str, Any]:
    """What SNS posts, signed with the ``key`` of that name; ``changes`` are signed, too."""
    told: dict[str, Any] = {
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": f"{clock.now().isoformat(timespec='milliseconds')}Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
    }
    if kind == "Notification":
        told["UnsubscribeURL"] = f"https://{HOST}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:1"
    else:
        told["SubscribeURL"] = f"https://{HOST}/?Action=ConfirmSubscription&Token={TOKEN}"
        told["Token"] = TOKEN
    told |= changes
    lines = "".join(f"{name}\n{told[name]}\n" for name in _SIGNED[kind] if name in told)
    signature = _key(key).sign(lines.encode(), padding.PKCS1v15(), _HASHES[version])
    return {**told, "Signature": base64.b64encode(signature).decode()}


@dataclass
class Sns:
    """The running server; ``asked`` are the paths and queries that were asked for."""

    port: int = 0
    status: int = 200
    pem: bytes = b""
    asked: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        self.asked.append(handler.path)
        handler.send_response(self.status)
        handler.end_headers()
        handler.wfile.write(self.pem if handler.path.endswith(".pem") else b"<Confirmed/>")


@contextmanager
def sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sns]:
    """Run it until the block ends, as the server that has its name."""
    running = Sns(pem=certificate())

    others = connect._lookup

    def lookup(server: str, port: int, flags: int = 0) -> list[Endpoint]:
        if (server, port) != (HOST, 443):
            return others(server, port, flags)
        return [Endpoint(2, ("127.0.0.1", running.port))]  # type: ignore[arg-type]

    trusting = tls.context_for(pki().pem)
    with answering(running.answer, running.stopping, pki().server(HOST)) as running.port:
        monkeypatch.setattr(connect, "_lookup", lookup)
        monkeypatch.setattr(http, "context_for", lambda _: trusting)
        yield running
