"""Amazon SES over HTTPS: what is asked of it, what its answers mean, and a queue that it takes."""

from __future__ import annotations

import email
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.policy import default
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock, send_notification
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Result, Stage
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.settings.relay import Relay
from flask_interaction_mail.storage.tables import CHECK, DELIVERY
from flask_interaction_mail.transport.base import Envelope, Stopped
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.registry import Transports
from flask_interaction_mail.transport.ses import client, transport
from flask_interaction_mail.transport.ses.transport import SesTransport
from tests.host import ADA, Host
from tests.servers import ses as double
from tests.servers.certificates import other_pki, pki
from tests.servers.programs import free_port
from tests.servers.ses import KEY, REGION, SECRET, Ses, not_verified, refuse, ses_server

SENDER, TO = "crm@firm.example", "ada@firm.example"
CONTENT = b"From: crm@firm.example\r\nTo: ada@firm.example\r\nSubject: Hello\r\n\r\nText\r\n"


@pytest.fixture
def service() -> Iterator[Ses]:
    with ses_server() as running:
        yield running


OPENED: list[SesTransport] = []


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits a second in a test; the machine has no credentials; all is closed at the end."""
    monkeypatch.setattr(transport, "_PAUSES", (0.01, 0.02, 0.04))
    monkeypatch.setattr(client, "_of_machine", lambda: None)
    yield
    while OPENED:
        OPENED.pop().close()


def settings(service: Ses, **changes: Any) -> MessagingSettings:
    chosen: dict[str, Any] = {
        "kind": "ses",
        "region": REGION,
        "endpoint": service.url,
        "access_key": KEY,
        "secret_key": SECRET,
        "default_from": SENDER,
        **changes,
    }
    return MessagingSettings(**chosen)


def opened(service: Ses, **changes: Any) -> SesTransport:
    return taking(relay_of(settings(service, **changes)))


def taking(relay: Relay, policy: ConnectPolicy | None = None) -> SesTransport:
    OPENED.append(SesTransport(relay, policy))
    return OPENED[-1]


def envelope(*recipients: str, content: bytes = CONTENT, sender: str = SENDER) -> Envelope:
    return Envelope(sender=sender, recipients=recipients or (TO,), content=content)


# -- requests --------------------------------------------------------------------------


def test_the_envelope_decides_and_the_content_stays(service: Ses) -> None:
    """Also who gets a copy that no header names, over one connection for all."""
    sending = opened(service)
    for _ in range(3):
        outcome = sending.deliver(envelope(TO, "bcc@elsewhere.example"))
    first = service.taken[0]
    assert (first.sender, first.recipients) == (SENDER, (TO, "bcc@elsewhere.example"))
    assert first.content == CONTENT
    assert outcome.result is Result.ACCEPTED
    assert outcome.provider_id == service.taken[2].id
    assert str(outcome.verdicts[TO]) == f"250 Amazon SES has taken it: {service.taken[2].id}"
    assert len(service.connections) == 1


def test_more_than_fifty_recipients_are_for_the_next_request(service: Ses) -> None:
    """As delivery does with a server that takes few at once."""
    everybody = tuple(f"p{number}@firm.example" for number in range(120))
    outcome = opened(service).deliver(envelope(*everybody))
    assert service.taken[0].recipients == everybody[:50]
    assert (outcome.left, outcome.room) == (everybody[50:], 50)


def test_what_it_cannot_take_is_not_asked(service: Ses) -> None:
    """A message of more than 40 MB, and addresses whose first part is not ASCII."""
    sending = opened(service)
    large = Envelope(
        sender=SENDER, recipients=(TO,), content=lambda: b"", size=transport.OFFERED.size + 1
    )
    assert sending.deliver(large).fault is Fault.TOO_BIG
    outcome = sending.deliver(envelope("jürgen@firm.example", TO))
    assert service.taken[0].recipients == (TO,)
    assert outcome.verdicts["jürgen@firm.example"].permanent
    assert outcome.result is Result.ACCEPTED
    assert service.sends == 1


def test_a_role_of_the_machine_is_used_only_without_a_key(
    service: Ses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its credentials are found by botocore; a key whose secret is for another place is none."""
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    client._session.cache_clear()
    own = opened(service, access_key=None, secret_key=None)
    assert own.deliver(envelope()).result is Result.ACCEPTED
    with pytest.raises(TransportError) as caught:
        opened(service, secret_key=None).deliver(envelope())
    assert (caught.value.fault, caught.value.transient) == (Fault.SES_NO_KEY, False)
    client._session.cache_clear()


def test_a_connection_that_was_ended_is_replaced(service: Ses) -> None:
    """Before anything is sent over it: no outcome is in doubt."""
    sending = opened(service)
    sending.deliver(envelope())
    service.behaviours = [double.lose]
    sending.deliver(envelope())
    assert sending.deliver(envelope()).result is Result.ACCEPTED
    assert len(service.connections) == 2


# -- answers ---------------------------------------------------------------------------

ACCOUNT = [
    (403, "UnrecognizedClientException", "The security token is invalid.", Fault.SES_KEY_REFUSED),
    (403, "InvalidSignatureException", "The signature does not match.", Fault.SES_KEY_REFUSED),
    (403, "InvalidSignatureException", "Signature expired: 2026", Fault.SES_CLOCK),
    (403, "ExpiredTokenException", "The security token is expired.", Fault.SES_KEY_EXPIRED),
    (403, "AccessDeniedException", "not authorized: ses:SendRawEmail", Fault.SES_FORBIDDEN),
    (400, "AccountSuspendedException", "", Fault.SES_PAUSED),
    (400, "SendingPausedException", "", Fault.SES_PAUSED),
    (429, "TooManyRequestsException", "Daily message quota exceeded.", Fault.SES_QUOTA),
    (400, "LimitExceededException", "Too many", Fault.SES_QUOTA),
    (500, "InternalFailure", "", Fault.SES_UNAVAILABLE),
    (503, "ServiceUnavailable", "", Fault.SES_UNAVAILABLE),
    (403, "", "", Fault.SES_KEY_REFUSED),
    (302, "", "", Fault.SES_NONSENSE),
    (400, "", "", Fault.SES_NONSENSE),
]


@pytest.mark.parametrize(("status", "code", "said", "fault"), ACCOUNT)
def test_trouble_of_the_account_is_no_fault_of_a_message(
    service: Ses, status: int, code: str, said: str, fault: Fault
) -> None:
    """It is raised, and mail waits; only weather and quotas pass by themselves."""
    service.behaviours = [refuse(status, code, said)]
    with pytest.raises(TransportError) as caught:
        opened(service).deliver(envelope())
    weather = (Fault.SES_UNAVAILABLE, Fault.SES_QUOTA)
    passes = fault in weather or (status, code) == (400, "")
    assert (caught.value.fault, caught.value.transient) == (fault, passes)
    assert caught.value.stage is Stage.AUTHENTICATION


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "BadRequestException", "Missing final '@domain'"),
        (400, "MessageRejected", "Could not parse message."),
        (404, "NotFoundException", "Configuration set <x> does not exist."),
        (413, "RequestEntityTooLarge", ""),
    ],
)
def test_a_message_that_it_refuses_fails(service: Ses, status: int, code: str, said: str) -> None:
    """With its own words, and alone."""
    service.behaviours = [refuse(status, code, said)]
    outcome = opened(service).deliver(envelope())
    assert (outcome.result, outcome.trouble) == (Result.PERMANENT, None)
    assert str(outcome.verdicts[TO]) == f"554 HTTP {status} {code}: {said}".strip()


def test_a_sender_who_is_not_verified_is_trouble(service: Ses) -> None:
    """All mail has it; the message is not to blame."""
    service.verified = {"other.example"}
    outcome = opened(service).deliver(envelope())
    assert (outcome.result, outcome.stage) == (Result.PERMANENT, Stage.SENDER)
    assert outcome.trouble is not None
    assert outcome.trouble.fault is Fault.SENDER_REFUSED
    assert SENDER in str(outcome.trouble)


def test_an_author_who_is_not_verified_is_the_message_s_own(service: Ses) -> None:
    """SES looks at the header From as well: another user may be in a verified domain."""
    service.behaviours = [lambda *_: (_ for _ in ()).throw(not_verified("Ada <a@own.example>"))]
    outcome = opened(service).deliver(envelope())
    assert (outcome.result, outcome.stage, outcome.trouble) == (
        Result.PERMANENT,
        Stage.SENDER,
        None,
    )


def test_in_a_sandbox_those_who_are_verified_get_it(service: Ses) -> None:
    """SES refuses the message for all because of one; the others get it by another request."""
    service.sandbox = True
    outcome = opened(service).deliver(envelope("eve@elsewhere.example", TO))
    assert service.taken[0].recipients == (TO,)
    assert outcome.result is Result.ACCEPTED
    assert outcome.verdicts["eve@elsewhere.example"].permanent
    assert outcome.verdicts[TO].positive
    alone = opened(service).deliver(envelope("eve@elsewhere.example"))
    assert (alone.result, alone.stage, alone.trouble) == (Result.PERMANENT, Stage.RECIPIENT, None)


def test_too_much_in_a_second_is_tried_again_in_place(service: Ses) -> None:
    """Then delivery takes the answer as that of a server with too much mail."""
    busy = refuse(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    service.behaviours = [busy, busy]
    assert opened(service).deliver(envelope()).result is Result.ACCEPTED
    service.behaviours = [busy] * 4
    outcome = opened(service).deliver(envelope())
    assert (outcome.result, outcome.verdicts[TO].code) == (Result.TRANSIENT, 421)


def test_it_says_how_long_to_wait(service: Ses) -> None:
    """A moment is waited for in place, more by the breaker, for an hour at most."""
    service.behaviours = [refuse(429, "TooManyRequestsException", "Rate", Retry_After="1")]
    began = time.monotonic()
    assert opened(service).deliver(envelope()).result is Result.ACCEPTED
    assert time.monotonic() - began >= 1
    service.behaviours = [refuse(429, "TooManyRequestsException", "Rate", Retry_After="300")]
    with pytest.raises(TransportError) as caught:
        opened(service).deliver(envelope())
    assert (caught.value.retry_after, service.sends) == (300, 3)


@pytest.mark.parametrize(
    "behaviour",
    [
        double.take_and_lose,
        double.page(502),
        double.page(504),
        double.page(200, "<html>Log in</html>"),
        double.page(200, '{"MessageId": ""}'),
    ],
)
def test_a_lost_answer_is_an_unknown_outcome(service: Ses, behaviour: Any) -> None:
    """The request had left: only SES knows."""
    service.behaviours = [behaviour]
    outcome = opened(service).deliver(envelope())
    assert (outcome.result, outcome.fault) == (Result.AMBIGUOUS, Fault.UNKNOWN_OUTCOME)
    assert service.sends == 1


@pytest.mark.parametrize("behaviour", [double.stall, double.drip])
def test_silence_ends_in_time(
    service: Ses, behaviour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a little comes now and then."""
    monkeypatch.setattr(transport, "_ANSWER", 0.5)
    service.behaviours = [behaviour]
    began = time.monotonic()
    assert opened(service).deliver(envelope()).result is Result.AMBIGUOUS
    assert time.monotonic() - began < 5


def test_delivery_can_be_stopped(service: Ses) -> None:
    """What waits for its answer is unknown then, anything later was not sent."""
    service.behaviours = [double.stall]
    sending = opened(service)
    threading.Timer(0.3, sending.abort).start()
    assert sending.deliver(envelope()).result is Result.AMBIGUOUS
    with pytest.raises(Stopped):
        sending.deliver(envelope())
    assert service.sends == 1


# -- the way there ---------------------------------------------------------------------


def test_its_certificate_is_verified(service: Ses) -> None:
    """Before anything is sent."""
    with ses_server(tls=pki().server()) as secure:
        with pytest.raises(TransportError) as caught:
            opened(secure, ca_certificate=other_pki().pem).deliver(envelope())
        assert caught.value.fault is Fault.CERTIFICATE_UNKNOWN_CA
        assert secure.asked == []
        assert opened(secure, ca_certificate=pki().pem).deliver(envelope()).reply is not None
        ends = Transports().look(relay_of(settings(secure, ca_certificate=pki().pem)))
        assert ends is not None
        assert ends > clock.now()


def test_it_may_be_unreachable(service: Ses) -> None:
    """Or forbidden: the connect policy is that of mail servers."""
    gone = MessagingSettings(**{**vars_of(settings(service)), "endpoint": endpoint_of(free_port())})
    with pytest.raises(TransportError) as caught:
        taking(relay_of(gone)).deliver(envelope())
    assert (caught.value.fault, caught.value.stage) == (Fault.SES_UNREACHABLE, Stage.CONNECT)
    denied = ConnectPolicy(ports=frozenset({service.port}))
    with pytest.raises(TransportError) as caught:
        taking(relay_of(settings(service)), denied).deliver(envelope())
    assert caught.value.stage is Stage.RESOLVE
    assert service.asked == []


def endpoint_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def vars_of(chosen: MessagingSettings) -> dict[str, Any]:
    return {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}


def test_a_look_sends_nothing(service: Ses) -> None:
    """It signs in; a key that may send, but not read the account, will do."""
    relay = relay_of(settings(service))
    assert Transports().look(relay) is None  # not encrypted on this machine
    assert service.asked == ["GET /v2/email/account"]
    with pytest.raises(TransportError) as caught:
        Transports().look(relay_of(settings(service, secret_key=f"{SECRET}x")))
    assert caught.value.fault is Fault.SES_KEY_REFUSED


# -- a queue ---------------------------------------------------------------------------


@pytest.fixture
def host(any_host: Host, service: Ses) -> Host:
    any_host.configure(
        kind="ses", region=REGION, endpoint=service.url, access_key=KEY, secret_key=SECRET
    )
    return any_host


def send(host: Host, count: int = 1, to: Any = ADA) -> None:
    with host.app.app_context():
        for number in range(count):
            send_notification(to, f"Subject {number}", text="Text")
        host.db.session.commit()


def deliveries(host: Host) -> list[Any]:
    with host.state.database.reading() as connection:
        return list(connection.execute(sa.select(DELIVERY).order_by(DELIVERY.c.created_at)))


def make_due(host: Host) -> None:
    with host.state.database.writing() as connection:
        connection.execute(
            sa.update(DELIVERY)
            .where(DELIVERY.c.status == "deferred")
            .values(due_at=clock.now() - timedelta(minutes=1))
        )


def test_a_queue_leaves_and_keeps_the_provider_s_names(host: Host, service: Ses) -> None:
    """Twenty messages over a few connections, each once."""
    send(host, 20)
    host.dispatcher().drain()
    rows = deliveries(host)
    assert {row.status for row in rows} == {"sent"}
    assert sorted(row.provider_id for row in rows) == sorted(one.id for one in service.taken)
    assert len(service.taken) == 20
    assert rows[0].server == f"127.0.0.1:{service.port}"
    message = email.message_from_bytes(service.taken[0].content, policy=default)
    assert message["To"] == "Ada Byron <ada@firm.example>"


def test_fifty_by_fifty(host: Host, service: Ses) -> None:
    """Each of 120 recipients gets it once."""
    send(host, to=[f"p{number}@firm.example" for number in range(120)])
    host.dispatcher().drain()
    assert [len(one.recipients) for one in service.taken] == [50, 50, 20]
    (row,) = deliveries(host)
    assert (row.status, row.provider_id) == ("sent", service.taken[-1].id)


def test_one_who_is_refused_does_not_cost_the_others(host: Host, service: Ses) -> None:
    """The name that SES gave stays with the message that failed for one."""
    service.sandbox = True
    send(host, to=["ada@firm.example", "eve@elsewhere.example"])
    host.dispatcher().drain()
    (row,) = deliveries(host)
    assert (row.status, row.provider_id) == ("failed", service.taken[0].id)
    assert "not verified" in row.detail


@pytest.mark.parametrize(
    ("behaviour", "seconds"),
    [
        (refuse(403, "UnrecognizedClientException"), 900),
        (refuse(503, "ServiceUnavailable"), 60),
        (refuse(503, "ServiceUnavailable", Retry_After="600"), 600),
        (refuse(429, "TooManyRequestsException", Retry_After="999999"), 3600),
    ],
)
def test_all_mail_waits_while_the_account_is_in_trouble(
    host: Host, service: Ses, behaviour: Any, seconds: int
) -> None:
    """One request finds it out; better settings end the wait."""
    service.behaviours = [behaviour]
    send(host, 5)
    host.dispatcher().drain()
    assert (service.sends, service.taken) == (1, [])
    with host.state.database.reading() as connection:
        row = connection.execute(sa.select(CHECK).where(CHECK.c.kind == "breaker")).one()
    assert json.loads(row.steps)["stage"] == "authentication"
    assert round((row.until - row.at).total_seconds()) == seconds
    assert {row.attempts for row in deliveries(host)} == {0}
    host.configure(
        kind="ses", region=REGION, endpoint=service.url, access_key=KEY, secret_key=SECRET
    )
    host.dispatcher().drain()
    assert len(service.taken) == 5


@pytest.mark.parametrize(("policy", "status"), [("retry", "deferred"), ("hold", "held")])
def test_a_lost_answer_follows_the_policy(
    host: Host, service: Ses, policy: str, status: str
) -> None:
    """Sent again, or kept for an administrator."""
    host.configure(
        kind="ses",
        region=REGION,
        endpoint=service.url,
        access_key=KEY,
        secret_key=SECRET,
        on_ambiguous=policy,
    )
    service.behaviours = [double.take_and_lose]
    send(host)
    host.dispatcher().drain()
    assert [row.status for row in deliveries(host)] == [status]
    make_due(host)
    host.dispatcher().drain()
    assert len(service.taken) == (2 if policy == "retry" else 1)


def test_a_throttled_message_is_tried_again(host: Host, service: Ses) -> None:
    """A minute later, after the tries in place; with an attempt that counts."""
    service.behaviours = [refuse(429, "TooManyRequestsException", "Maximum sending rate")] * 4
    send(host)
    host.dispatcher().drain()
    (row,) = deliveries(host)
    assert (row.status, row.attempts) == ("deferred", 1)
    make_due(host)
    host.dispatcher().drain()
    assert [row.status for row in deliveries(host)] == ["sent"]


def test_diverted_mail_goes_to_one_address(host: Host, service: Ses) -> None:
    """The envelope decides, whatever the header says."""
    host.configure(
        kind="ses",
        region=REGION,
        endpoint=service.url,
        access_key=KEY,
        secret_key=SECRET,
        divert_to="trial",
    )
    send(host)
    host.dispatcher().drain()
    assert service.taken[0].recipients == ("trial@firm.example",)
