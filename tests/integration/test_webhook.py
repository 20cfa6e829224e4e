"""The webhook: signed, sent where it may go and nowhere else, against a receiver on loopback."""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport import http
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp import tls
from flask_interaction_mail.transport.smtp.connect import Endpoint
from flask_interaction_mail.transport.webhook import WebhookFailed, post, signed
from tests.servers.certificates import other_pki, pki
from tests.servers.programs import free_port
from tests.servers.receiver import Receiver, receiving
from tests.servers.scripted import drip, scripted

BODY = b'{"alert": "server"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def send(url: str, policy: ConnectPolicy | None = None, limit: float = 10) -> None:
    post(url, BODY, {"webhook-id": "1"}, policy=policy or ConnectPolicy(), limit=limit)


def test_it_is_one_post(receiver: Receiver) -> None:
    """With path and query, the type, and our fields."""
    send(receiver.url)
    (hook,) = receiver.hooks
    assert (hook.path, hook.body) == ("/hook?room=1", BODY)
    assert hook.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert hook.headers["content-type"] == "application/json"
    assert hook.headers["webhook-id"] == "1"


def test_the_host_may_be_any_ipv6_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose last group could be a port, or is no number."""
    here = (Endpoint(socket.AF_INET, ("127.0.0.1", receiver.port)),)
    monkeypatch.setattr(http, "resolve", lambda *_: here)
    for address in ("fd00::abcd", "fd00::1", "fd00::"):
        send(f"http://[{address}]:{receiver.port}/")
    assert [hook.headers["host"] for hook in receiver.hooks] == [
        f"[{address}]:{receiver.port}" for address in ("fd00::abcd", "fd00::1", "fd00::")
    ]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification, made with the library of its authors."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signed(
        secret,
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert made["webhook-timestamp"] == "1614265330"


def test_any_text_is_a_secret() -> None:
    """In UTF-8, and what announces a key in base64 is one."""
    key = base64.b64encode(b"0" * 32).decode()
    coded = signed(Secret(f"whsec_{key}"), id="a", timestamp=1, body=b"")
    assert coded == signed(Secret("0" * 32), id="a", timestamp=1, body=b"")


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_a_refusal_is_told(receiver: Receiver, status: int) -> None:
    receiver.statuses.append(status)
    with pytest.raises(WebhookFailed, match=f"answered {status}"):
        send(receiver.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    """Wherever they lead: a receiver must not choose whom we talk to."""
    with receiving() as other:
        receiver.statuses.append(status)
        receiver.headers["Location"] = other.url
        with pytest.raises(WebhookFailed, match="redirect"):
            send(receiver.url)
        assert other.hooks == []


def test_a_denied_network_is_not_connected_to(receiver: Receiver) -> None:
    """The rule of mail servers holds, and what an installation denies beside it."""
    deny = ConnectPolicy(deny=(ipaddress.ip_network("127.0.0.0/8"),))
    with pytest.raises(WebhookFailed, match="not allowed"):
        send(receiver.url, deny)
    with pytest.raises(WebhookFailed, match="not allowed"):
        send(receiver.url, ConnectPolicy(ports=frozenset({receiver.port})))
    with pytest.raises(WebhookFailed, match="not allowed"):
        send("https://169.254.169.254/latest/meta-data/")
    assert receiver.hooks == []


def test_a_name_that_leads_elsewhere_is_no_loopback(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http to "localhost" needs an address that is, whatever the name service says."""
    elsewhere = (Endpoint(socket.AF_INET, ("192.0.2.1", receiver.port)),)
    monkeypatch.setattr(http, "resolve", lambda *_: elsewhere)
    with pytest.raises(WebhookFailed, match="needs https"):
        send(f"http://localhost:{receiver.port}/")


def test_a_stalling_receiver_is_left(receiver: Receiver) -> None:
    """After the time limit, whatever is missing."""
    receiver.stalls = True
    began = time.monotonic()
    with pytest.raises(WebhookFailed, match="did not answer"):
        send(receiver.url, limit=0.5)
    assert time.monotonic() - began < 5


def test_a_dripping_receiver_is_left() -> None:
    """One that sends a header field now and then never lets a read time out."""
    begun = {"POST": lambda peer: (peer.say(b"HTTP/1.1 200 OK\r\n"), drip(b"X: y\r\n", 0.1)(peer))}
    with scripted({**begun, "GREETING": lambda _: None}) as server:  # type: ignore[dict-item]
        before = threading.active_count()
        began = time.monotonic()
        with pytest.raises(WebhookFailed, match="did not answer"):
            send(f"http://127.0.0.1:{server.port}/", limit=1)
        assert time.monotonic() - began < 5
    assert threading.active_count() <= before + 2  # idle ones of the pool


def test_no_web_server() -> None:
    """Nothing listens, or something else."""
    with pytest.raises(WebhookFailed, match="nothing answers on port"):
        send(f"http://127.0.0.1:{free_port()}/")
    with scripted() as mail, pytest.raises(WebhookFailed, match="not that of a web server"):
        send(f"http://127.0.0.1:{mail.port}/")


def test_tls_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of somebody else ends it before anything is sent."""
    trusting = tls.context_for(pki().pem)
    monkeypatch.setattr(http, "context_for", lambda _: trusting)
    with receiving(pki().server()) as good:
        send(good.url)
        assert len(good.hooks) == 1
    with receiving(other_pki().server()) as bad:
        with pytest.raises(WebhookFailed, match="certificate"):
            send(bad.url)
        assert bad.hooks == []


def test_the_documented_verification_works(receiver: Receiver) -> None:
    """The snippet of docs/monitoring.md, run on what is really sent."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
    snippet = page.split("```python\n# verify", 1)[1].split("```", 1)[0]
    names: dict[str, object] = {}
    exec(f"# verify{snippet}", names)  # noqa: S102 - ours
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    now = int(time.time())
    headers = signed(Secret("s3cret"), id="1", timestamp=now, body=BODY)
    post(receiver.url, BODY, headers, policy=ConnectPolicy())
    (hook,) = receiver.hooks
    assert json.loads(hook.body)
    assert is_genuine(hook.headers, hook.body, "s3cret")
    assert not is_genuine(hook.headers, hook.body + b" ", "s3cret")
    assert not is_genuine(hook.headers, hook.body, "another")
    old = signed(Secret("s3cret"), id="1", timestamp=now - 600, body=BODY)
    assert not is_genuine(old, BODY, "s3cret")
