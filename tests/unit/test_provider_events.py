"""What providers post: who has signed it, and what it says of whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_interaction_mail import SettingsError
from flask_interaction_mail.config import parse
from flask_interaction_mail.returned import amazon, sendgrid
from flask_interaction_mail.returned.events import Event, NotFromProvider, Unreadable
from flask_interaction_mail.settings.amazon import server_of_topic
from tests import provider_events
from tests.provider_events import SENDGRID_ID, SES_ID, signed, verification_key
from tests.servers import sns
from tests.servers.sns import CERTIFICATE, HOST, TOPIC, certificate

NOW = datetime.now(UTC)
BOB, EVE = "bob@firm.example", "eve@firm.example"


def keys(*names: str) -> tuple[bytes, ...]:
    given = [verification_key(name) for name in names]
    return parse({"INTERACTION_MAIL_SENDGRID_KEYS": given}).sendgrid_keys


def of_ses(told: object) -> list[Event]:
    body = json.dumps(sns.notice(told)).encode()
    return list(amazon.read(amazon.notice(body, (TOPIC,), NOW)))


def said(event: Event) -> list[tuple[str, str | None, str, str]]:
    notes = event.returned.notes
    return [(note.final[0], note.state, note.code, note.diagnostic) for note in notes]


# -- Amazon SES ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "state", "code", "words"),
    [
        (
            "Bounce",
            {"action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 unknown"},
            *("bounced", "5.1.1", "550 5.1.1 unknown"),
        ),
        ("Bounce", {"bounceSubType": "Suppressed"}, "bounced", "", "Permanent: Suppressed"),
        (
            "Bounce",
            {"bounceType": "Transient", "bounceSubType": "MailboxFull", "status": "5.2.2"},
            *("bounced", "5.2.2", "Transient: MailboxFull"),
        ),
        # Also what SES makes of "out of office".
        ("Bounce", {"bounceType": "Transient"}, None, "", "Transient: General"),
        ("Bounce", {"bounceType": "Undetermined"}, None, "", "Undetermined: General"),
        (
            "Bounce",
            {"bounceType": "Transient", "action": "failed", "status": "4.4.7"},
            *("bounced", "4.4.7", "Transient: General"),
        ),
        (
            "Bounce",
            {"bounceType": "Transient", "action": "delayed", "status": "4.4.7"},
            *("delayed", "4.4.7", "Transient: General"),
        ),
        ("Delivery", {}, "delivered", "2.6.0", "250 2.6.0 Message received"),
        (
            "DeliveryDelay",
            {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no way"},
            *("delayed", "4.4.1", "421 4.4.1 no way"),
        ),
        ("DeliveryDelay", {}, "delayed", "", "SpamDetected"),
        ("Complaint", {}, None, "", "complaint: abuse"),
        ("Complaint", {"complaintFeedbackType": None}, None, "", "complaint: marked as spam"),
        ("Reject", {}, "bounced", "", "rejected: Bad content"),
    ],
)
@pytest.mark.parametrize("name", ["eventType", "notificationType"])
def test_an_event_of_ses_is_a_report(
    name: str, kind: str, changes: dict[str, Any], state: str | None, code: str, words: str
) -> None:
    """A complaint changes nothing, and neither does what may be an automatic reply."""
    (event,) = of_ses(provider_events.ses(kind, BOB, EVE, name=name, **changes))
    assert said(event) == [(BOB, state, code, words), (EVE, state, code, words)]
    assert event.returned.references == (f"<{SES_ID}>",)
    assert json.loads(event.content)[name] == kind


@pytest.mark.parametrize(
    "told",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        *("[]", "1", "{}", '{"eventType": 1}', '{"eventType": "Bounc' + "[" * 100_000),
        provider_events.ses("Send", BOB),
        provider_events.ses("Open", BOB),
    ],
)
def test_what_says_nothing_of_a_message_is_no_report(told: object) -> None:
    """Sent, opened, texts of SNS, and what is broken."""
    assert of_ses(told) == []


def test_our_message_id_is_among_the_headers() -> None:
    """SES replaces it, and tells it where a configuration set publishes the event."""
    told = provider_events.ses("Delivery", BOB)
    told["mail"]["headers"] += [{"name": "Message-ID", "value": "<1@firm.example>"}, 5, {}]
    (event,) = of_ses(told)
    assert event.returned.references == ("<1@firm.example>", f"<{SES_ID}>")


@pytest.mark.parametrize("kind", ["Bounce", "Complaint", "Delivery", "DeliveryDelay", "Reject"])
@pytest.mark.parametrize("odd", [None, 5, [], {}, "x", [None, 5, "x", {}, {"emailAddress": 5}]])
def test_nothing_odd_in_an_event_is_an_error(kind: str, odd: object) -> None:
    """Wherever it stands."""
    told = provider_events.ses(kind, BOB)
    (part,) = told.keys() - {"eventType", "mail"}
    odd_ones = [{**told, "mail": odd}, {**told, part: odd}]
    odd_ones += [{**told, part: {**told[part], name: odd}} for name in told[part]]
    odd_ones += [{**told, "mail": {**told["mail"], name: odd}} for name in told["mail"]]
    for one in odd_ones:
        assert len(of_ses(one)) == 1


def test_texts_from_elsewhere_are_made_harmless() -> None:
    """No NUL, no half of a surrogate pair, no line end; no more than can be kept."""
    words = "smtp; 550 \x00\ud800 a\r\nb\x1b[2J " + "x" * 5000
    (event,) = of_ses(provider_events.ses("Bounce", BOB, diagnosticCode=words))
    ((_, _, _, kept),) = said(event)
    assert kept.isprintable()
    assert kept.startswith("550 \ufffd")
    assert len(kept) == 1000
    assert b"\0" not in event.content


def test_the_same_event_is_the_same_however_it_comes() -> None:
    """Twice by SNS, or as event and as notification; another recipient or kind is another one."""
    told = provider_events.ses("Bounce", BOB)
    others = [
        provider_events.ses("Bounce", EVE),
        provider_events.ses("Bounce", BOB, feedbackId="2"),
        provider_events.ses("Complaint", BOB),
    ]
    (first,), (second,) = of_ses(told), of_ses(told)
    assert first.returned.digest == second.returned.digest
    digests = {of_ses(one)[0].returned.digest for one in (told, *others)}
    assert len(digests) == 4


def checked(pem: bytes | None = None, **changes: Any) -> amazon.Notice:
    unsigned = changes.pop("unsigned", {})
    body = json.dumps(sns.notice({}, **changes) | unsigned).encode()
    found = amazon.notice(body, (TOPIC,), NOW)
    found.check(certificate() if pem is None else pem, NOW)
    return found


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
def test_a_signature_of_sns_is_believed(version: str, kind: str) -> None:
    """In both versions, with and without a subject."""
    assert checked(version=version, kind=kind).kind == kind
    assert checked(version=version, kind=kind, Subject="Über\n2").kind == kind


@pytest.mark.parametrize(
    "unsigned",
    [
        {"Message": "{ }"},
        {"MessageId": "2"},
        {"Subject": "2"},
        {"Timestamp": f"{NOW:%Y-%m-%dT%H:%M:%S}.001Z"},
        {"Type": "UnsubscribeConfirmation", "Token": "x" * 20},
        {"SignatureVersion": "1"},
        {"SignatureVersion": "3"},
        {"SignatureVersion": 2},
        {"Signature": ""},
        {"Signature": "%%%"},
        {"Signature": None},
        {"MessageId": ["2"]},
        {"MessageId": "\ud800"},
    ],
)
def test_what_was_changed_after_the_signature_is_refused(unsigned: dict[str, Any]) -> None:
    """Each text that counts."""
    with pytest.raises(NotFromProvider):
        checked(unsigned=unsigned)


@pytest.mark.parametrize(
    "pem", [certificate("another"), certificate(days=-1), b"", b"<html>"], ids=range(4)
)
def test_another_certificate_or_one_that_has_ended_signs_nothing(pem: bytes) -> None:
    with pytest.raises(NotFromProvider):
        checked(pem)


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE.replace("https", "http"),
        CERTIFICATE.replace(HOST, "sns.eu-west-1.amazonaws.com.evil.example"),
        CERTIFICATE.replace(HOST, "evil.example"),
        CERTIFICATE.replace(HOST, f"{HOST}@evil.example"),
        CERTIFICATE.replace(HOST, f"{HOST}:8443"),
        CERTIFICATE.replace(HOST, "snsXeu-west-1.amazonaws.com"),
        CERTIFICATE.replace(HOST, "sns.us-east-1.amazonaws.com"),  # not where our topic is
        CERTIFICATE.replace(HOST, "my-bucket.s3.amazonaws.com"),
        f"https://{HOST}/?Action=ConfirmSubscription&x=.pem",
        f"https://{HOST}/../x.pem",
        f"{CERTIFICATE}?x",
        f"{CERTIFICATE}\n",
        "",
        None,
        5,
    ],
)
def test_a_certificate_from_elsewhere_is_not_asked_for(url: object) -> None:
    """Whoever signs it: everybody can put one anywhere else."""
    with pytest.raises(NotFromProvider, match="certificate"):
        checked(SigningCertURL=url)


@pytest.mark.parametrize(
    "topic", [TOPIC + "2", TOPIC.replace("1234", "4321"), TOPIC.upper(), "", None, [TOPIC]]
)
def test_another_topic_is_not_ours(topic: object) -> None:
    """Everybody may have one, which SNS signs just the same."""
    with pytest.raises(NotFromProvider, match="topic"):
        checked(TopicArn=topic)


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (timedelta(minutes=-14), True),
        (timedelta(minutes=-16), False),
        (timedelta(minutes=74), True),
        (timedelta(minutes=76), False),
    ],
)
def test_an_old_notice_is_refused(age: timedelta, taken: bool) -> None:
    """SNS posts again for an hour; a quarter of one is for the clocks."""
    at = f"{NOW - age:%Y-%m-%dT%H:%M:%S.000Z}"
    if taken:
        assert checked(Timestamp=at)
        return
    with pytest.raises(NotFromProvider, match="signed at"):
        checked(Timestamp=at)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"5", b"{}", b"\xff", b"[" * 100_000, b'{"Type": "Received"}'),
        json.dumps(provider_events.ses("Bounce", BOB)).encode(),  # "raw message delivery"
        json.dumps(sns.notice({}) | {"Timestamp": "soon"}).encode(),
        json.dumps(sns.notice({}, "SubscriptionConfirmation") | {"Token": "&x"}).encode(),
    ],
    ids=range(11),
)
def test_what_is_no_notice_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        amazon.notice(body, (TOPIC,), NOW)


@pytest.mark.parametrize(
    ("arn", "server"),
    [
        (TOPIC, HOST),
        ("arn:aws-cn:sns:cn-north-1:123456789012:m", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:m", "sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_each_region_has_a_server(arn: str, server: str) -> None:
    assert server_of_topic(arn) == server


# -- SendGrid --------------------------------------------------------------------------

# The example in the tests of SendGrid's own library (sendgrid-python, MIT).
_THEIRS = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
_THEIR_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+"
    "2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
_THEIR_SIGNATURE = (
    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtE"
    "ZtM="
)


def test_their_own_example_is_believed() -> None:
    """And says that a message was dropped."""
    then = datetime.fromtimestamp(1600112502, UTC)
    for key, signature in ((_THEIR_KEY, _THEIR_SIGNATURE), (verification_key(), "")):
        (der,) = parse({"INTERACTION_MAIL_SENDGRID_KEYS": key}).sendgrid_keys
        given = {"signature": signature, "timestamp": "1600112502", "now": then}
        if signature:
            sendgrid.check((der,), _THEIRS, **given)  # type: ignore[arg-type]
            continue
        with pytest.raises(NotFromProvider):
            sendgrid.check((der,), _THEIRS, **given)  # type: ignore[arg-type]
    (event,) = sendgrid.read(_THEIRS)
    assert said(event) == [("hello@world.com", "bounced", "", "Bounced Address")]
    assert "<LRzXl_NHStOGhQ4kofSm_A>" in event.returned.references


def check(
    body: bytes, headers: dict[str, str], *names: str, now: datetime = NOW, **changes: str
) -> None:
    sendgrid.check(
        keys(*(names or ("ours",))),
        body,
        signature=changes.get("signature", headers[sendgrid.SIGNATURE]),
        timestamp=changes.get("timestamp", headers[sendgrid.TIMESTAMP]),
        now=now,
    )


def test_what_sendgrid_has_signed_is_believed() -> None:
    """Byte for byte, with any of the keys, for as long as it may post the same again."""
    body, headers = signed(provider_events.sendgrid("delivered", BOB))
    check(body, headers)
    check(body, headers, "another", "ours")
    check(body, headers, now=NOW + timedelta(hours=24))
    for late in (timedelta(hours=25), timedelta(minutes=-20)):
        with pytest.raises(NotFromProvider, match="signed at"):
            check(body, headers, now=NOW + late)
    for other in (body + b" ", body.strip(), body.replace(b"bob", b"eve"), b""):
        with pytest.raises(NotFromProvider):
            check(other, headers)
    with pytest.raises(NotFromProvider):
        check(body, headers, "another")


@pytest.mark.parametrize("signature", ["", "%", "QQ==", "ü", "A" * 10_000])
def test_what_is_no_signature_is_none(signature: str) -> None:
    body, headers = signed()
    with pytest.raises(NotFromProvider):
        check(body, headers, signature=signature)


@pytest.mark.parametrize("timestamp", ["", "now", "1e9", "-1", "9" * 30, "١٦٠٠١١٢٥٠٢", "0"])
def test_what_is_no_time_is_none(timestamp: str) -> None:
    body, headers = signed()
    with pytest.raises(NotFromProvider):
        check(body, headers, timestamp=timestamp)


@pytest.mark.parametrize(
    ("kind", "changes", "state", "code", "words"),
    [
        (
            *("delivered", {"response": "250 2.0.0 OK 1461095248 x - gsmtp "}, "delivered"),
            *("2.0.0", "250 2.0.0 OK 1461095248 x - gsmtp"),
        ),
        ("deferred", {"response": "400 try again later"}, "delayed", "400", "400 try again later"),
        (
            "bounce",
            {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such account"},
            *("bounced", "5.1.1", "550 5.1.1 no such account"),
        ),
        (
            "bounce",
            {"type": "blocked", "status": "4.7.1", "reason": "451 4.7.1 listed"},
            *("bounced", "4.7.1", "451 4.7.1 listed"),
        ),
        ("dropped", {"reason": "Invalid"}, "bounced", "", "Invalid"),
        ("spamreport", {}, None, "", "complaint: marked as spam"),
    ],
)
def test_an_event_of_sendgrid_is_a_report(
    kind: str, changes: dict[str, Any], state: str | None, code: str, words: str
) -> None:
    body, _ = signed(provider_events.sendgrid(kind, BOB, **changes))
    (event,) = sendgrid.read(body)
    assert said(event) == [(BOB, state, code, words)]
    assert f"<{SENDGRID_ID}>" in event.returned.references


def test_events_that_say_nothing_of_a_message_are_left_out() -> None:
    """Opened, clicked, processed, and what is none."""
    kinds = ("processed", "open", "click", "unsubscribe", "group_resubscribe", "")
    body, _ = signed(*(provider_events.sendgrid(kind, BOB) for kind in kinds))
    assert list(sendgrid.read(body)) == []
    assert list(sendgrid.read(b'[1, null, [], {"event": []}]')) == []
    (odd,) = sendgrid.read(b'[{"event": "bounce", "email": 5, "smtp-id": [], "reason": {}}]')
    assert odd.returned.references == ()
    for nothing in (b"", b"{}", b"null", b"[" * 100_000):
        with pytest.raises(Unreadable):
            list(sendgrid.read(nothing))


# -- configuration ---------------------------------------------------------------------


def test_keys_and_topics_are_a_list_or_a_text() -> None:
    """As environment variables have them."""
    both = parse({"INTERACTION_MAIL_SNS_TOPICS": f"{TOPIC}, {TOPIC}2"})
    assert both.sns_topics == (TOPIC, f"{TOPIC}2")
    assert parse({"INTERACTION_MAIL_SNS_TOPICS": [TOPIC]}).sns_topics == (TOPIC,)
    text = f"{verification_key()},{verification_key('another')}"
    assert parse({"INTERACTION_MAIL_SENDGRID_KEYS": text}).sendgrid_keys == keys("ours", "another")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("SNS_TOPICS", value) for value in ("mail", "*", TOPIC + ".fifo", TOPIC + ":x", [5])),
        *(("SNS_TOPICS", [TOPIC, TOPIC.replace("sns", "sqs")]),),
        *(("SENDGRID_KEYS", value) for value in ("x", "AAAA", verification_key()[:-8], 5)),
    ],
)
def test_a_wrong_key_or_topic_is_told_at_the_start(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"INTERACTION_MAIL_{key}"):
        parse({f"INTERACTION_MAIL_{key}": value})
