"""A double of Amazon SES, version 2, on loopback, which checks requests against the published API.

What an operation takes is botocore's model of the service; signatures are computed anew with
botocore. A request that the service would not understand is a ``fault`` of the double, besides the
error that it answers.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.validate import ParamValidator

from tests.canary import STEM
from tests.servers.answering import answering

KEY, SECRET, REGION = "AKIAIOSFODNN7EXAMPLE", f"{STEM}/secret+access/key", "eu-west-1"
_SKEW = timedelta(minutes=5)
_MOST, _RECIPIENTS = 40_000_000, 50
_NAMES = {"SendEmail": "POST /v2/email/outbound-emails", "GetAccount": "GET /v2/email/account"}


@cache
def _operations() -> dict[str, OperationModel]:
    model = ServiceModel(Loader().load_service_model("sesv2", "service-2"))
    found = {name: model.operation_model(name) for name in _NAMES}
    for name, operation in found.items():
        assert f"{operation.http['method']} {operation.http['requestUri']}" == _NAMES[name]
    return {_NAMES[name]: operation for name, operation in found.items()}


@dataclass(frozen=True)
class Taken:
    """One message: envelope and content."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    id: str


class Refused(Exception):
    """An error of the service: HTTP status, its name, what it says, header fields."""

    def __init__(self, status: int, code: str, said: str = "", **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.said = status, code, said
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


Behaviour = Callable[[BaseHTTPRequestHandler, "Ses"], bool]


@dataclass
class Ses:
    """A running one.

    ``behaviours`` are for the next requests that send mail, in order; one that gives true has
    answered. Only ``verified`` addresses and domains may send; in a ``sandbox`` only they get mail.
    """

    port: int = 0
    scheme: str = "http"
    keys: dict[str, str] = field(default_factory=lambda: {KEY: SECRET})
    verified: set[str] = field(default_factory=lambda: {"firm.example"})
    sandbox: bool = False
    account: dict[str, Any] = field(default_factory=dict)
    on_account: Callable[[], object] = lambda: None  # may refuse to tell it
    clock: timedelta = timedelta(0)  # how far its clock is ahead
    behaviours: list[Behaviour] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def sends(self) -> int:
        """How often it was asked to send."""
        return self.asked.count(_NAMES["SendEmail"])

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Check and answer one request."""
        asked = f"{handler.command} {handler.path}"
        with self.lock:
            self.asked.append(asked)
            self.connections.add(handler.client_address)
        try:
            told = self._told(handler, asked, body)
        except Refused as error:
            say(handler, error.status, {"message": error.said}, error.code, error.headers)
        else:
            if told is not None:
                say(handler, 200, told)

    def _told(
        self, handler: BaseHTTPRequestHandler, asked: str, body: bytes
    ) -> dict[str, Any] | None:
        operation = _operations().get(asked)
        if operation is None:
            self.faults.append(f"no such operation: {asked}")
            raise Refused(404, "UnknownOperationException")
        self._check_signature(handler, body)
        if operation.name == "GetAccount":
            self.on_account()
            quota = {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 7.0}
            return {
                "ProductionAccessEnabled": not self.sandbox,
                "SendingEnabled": True,
                "EnforcementStatus": "HEALTHY",
                "SendQuota": quota if self.sandbox else {**quota, "Max24HourSend": 50000.0},
                **self.account,
            }
        asked_for = self._checked(operation, body)
        with self.lock:
            behaviour = self.behaviours.pop(0) if self.behaviours else None
        if behaviour is not None and behaviour(handler, self):
            return None
        return self._take(asked_for)

    def _check_signature(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        scheme, _, rest = handler.headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        if scheme != "AWS4-HMAC-SHA256" or parts.keys() != {
            "Credential",
            "SignedHeaders",
            "Signature",
        }:
            raise Refused(403, "MissingAuthenticationTokenException", "Missing token")
        key, day, region, service, end = parts["Credential"].split("/")
        if (service, end) != ("ses", "aws4_request") or region != REGION:
            raise Refused(403, "InvalidSignatureException", "Credential should be scoped otherwise")
        if key not in self.keys:
            said = "The security token included in the request is invalid."
            raise Refused(403, "UnrecognizedClientException", said)
        stamp = handler.headers["X-Amz-Date"]
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + self.clock
        if not stamp.startswith(day) or abs(now - at) > _SKEW:
            said = f"Signature expired: {stamp} is now earlier than {now:%Y%m%dT%H%M%SZ}"
            raise Refused(403, "InvalidSignatureException", said)
        signed = {name: handler.headers[name] for name in parts["SignedHeaders"].split(";")}
        if not {"host", "x-amz-date"} <= signed.keys():
            self.faults.append(f"not signed: host or date, only {sorted(signed)}")
        request = AWSRequest(
            handler.command, f"{self.scheme}://{signed['host']}{handler.path}", signed, body
        )
        request.context["timestamp"] = stamp
        signer = SigV4Auth(Credentials(key, self.keys[key]), service, region)
        told = signer.string_to_sign(request, signer.canonical_request(request))
        if signer.signature(told, request) != parts["Signature"]:
            said = "The request signature we calculated does not match the signature you provided."
            raise Refused(403, "InvalidSignatureException", said)

    def _checked(self, operation: OperationModel, body: bytes) -> dict[str, Any]:
        """The parameters, as the model has them."""
        asked = json.loads(body)
        raw = asked.get("Content", {}).get("Raw", {})
        if isinstance(raw.get("Data"), str):
            raw["Data"] = base64.b64decode(raw["Data"], validate=True)
        shape = operation.input_shape
        report = ParamValidator().validate(asked, shape)
        unknown = asked.keys() - shape.members.keys()
        if report.has_errors() or unknown:
            self.faults.append(f"{report.generate_report()} {sorted(unknown)}")
            raise Refused(400, "BadRequestException", "the request is not valid")
        return asked

    def _take(self, asked: dict[str, Any]) -> dict[str, Any]:
        to = tuple(one for kind in asked["Destination"].values() for one in kind)
        content, sender = asked["Content"]["Raw"]["Data"], asked["FromEmailAddress"]
        if not 0 < len(to) <= _RECIPIENTS:
            raise Refused(400, "MessageRejected", "Recipient count exceeds 50.")
        if len(content) > _MOST:
            raise Refused(400, "MessageRejected", "Message length is more than 41943040 bytes long")
        if not "".join((sender, *to)).isascii():
            raise Refused(400, "BadRequestException", "Local address contains non-ASCII")
        failed = [one for one in (sender, *(to if self.sandbox else ())) if not self._is_known(one)]
        if failed:
            raise not_verified(*failed)
        with self.lock:
            id = f"0102018{len(self.taken):09x}-3f0a4d0c-000000"
            self.taken.append(Taken(sender, to, content, id))
        return {"MessageId": id}

    def _is_known(self, address: str) -> bool:
        return bool({address, address.rpartition("@")[2]} & self.verified)


def not_verified(*addresses: str) -> Refused:
    """The error for addresses that are not verified."""
    said = "Email address is not verified. The following identities failed the check in region "
    return Refused(400, "MessageRejected", f"{said}{REGION.upper()}: {', '.join(addresses)}")


def refuse(status: int, code: str, said: str = "", **headers: str) -> Behaviour:
    """An error."""

    def act(_: BaseHTTPRequestHandler, __: Ses) -> bool:
        raise Refused(status, code, said, **headers)

    return act


def page(status: int, text: str = "<html>Bad gateway</html>", **headers: str) -> Behaviour:
    """What something in between answers."""

    def act(handler: BaseHTTPRequestHandler, _: Ses) -> bool:
        _send(handler, status, "text/html", text.encode(), headers)
        return True

    return act


def lose(handler: BaseHTTPRequestHandler, _: Ses) -> bool:
    """End the connection instead of an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def take_and_lose(handler: BaseHTTPRequestHandler, server: Ses) -> bool:
    """The same, after it has counted as taken."""
    server.taken.append(Taken("", (), b"", "lost"))
    return lose(handler, server)


def stall(_: BaseHTTPRequestHandler, server: Ses) -> bool:
    """Say nothing until the end."""
    server.stopping.wait()
    return True


def drip(handler: BaseHTTPRequestHandler, server: Ses) -> bool:
    """Say a little now and then, for a while."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        if server.stopping.wait(0.05):
            break
    return True


def say(
    handler: BaseHTTPRequestHandler,
    status: int,
    told: dict[str, Any],
    code: str = "",
    headers: dict[str, str] | None = None,
) -> None:
    """Answer as the service does."""
    fields = {"x-amzn-RequestId": "5f0b", **(headers or {})}
    if code:
        fields["x-amzn-ErrorType"] = f"{code}:http://internal.amazon.com/coral/"
    _send(handler, status, "application/json", json.dumps(told).encode(), fields)


def _send(
    handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def ses_server(*, tls: ssl.SSLContext | None = None, **state: Any) -> Iterator[Ses]:
    """Run one until the block ends; no request may have been one that the API does not have."""
    running = Ses(scheme="https" if tls else "http", **state)
    with answering(running.answer, running.stopping, tls, "HTTP/1.1") as running.port:
        yield running
    assert running.faults == []
