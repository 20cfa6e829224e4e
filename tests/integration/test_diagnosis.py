"""Test Settings, told step by step."""

from __future__ import annotations

import errno
import json
import socket
import time
from email import message_from_bytes
from ipaddress import ip_network
from itertools import pairwise

import pytest

from flask_interaction_mail.diagnosis.results import Diagnosis, Outcome, Step, StepState
from flask_interaction_mail.diagnosis.texts import FAULTS
from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.registry import Transports
from flask_interaction_mail.transport.smtp import session
from flask_interaction_mail.transport.smtp.connect import Endpoint, unconnected
from tests.servers.certificates import chain, other_pki, pki, self_signed
from tests.servers.clients import diagnosis_of, login_settings, settings, steps_of_test
from tests.servers.scripted import (
    close,
    drip,
    encrypt,
    flood,
    reset,
    scripted,
    silence,
    then,
)

OFFERED = b"250-scripted.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"
HURRY = 1.6  # s instead of 15


def stages(diagnosis):
    return [step.stage.value for step in diagnosis.steps]


def test_r48_r49_the_message_goes_to_the_default_to_from_the_default_from():
    """Whatever the From policy; short addresses get the company domain; the copy is announced."""
    for policy in ("current_user", "default_from"):
        with scripted() as server:
            diagnosis = diagnosis_of(settings(server.port, from_policy=policy))
        assert diagnosis.outcome is Outcome.PASSED
        assert diagnosis.passed
        (received,) = server.messages
        assert received.sender == "crm@x.test"
        assert received.recipients == ["admin@x.test", "crm@x.test"]
        content = message_from_bytes(received.content)
        assert (content["From"], content["To"], content["Cc"]) == (
            "crm@x.test",
            "admin@x.test",
            "crm@x.test",
        )
        assert content["Auto-Submitted"] == "auto-generated"


def test_r50_equal_addresses_pass_with_one_rcpt():
    """To and Cc are the same mailbox."""
    with scripted() as server:
        diagnosis = diagnosis_of(settings(server.port, default_from="admin@x.test"))
    assert diagnosis.outcome is Outcome.PASSED
    assert server.count("RCPT") == 1
    assert "the mailbox admin@x.test" in diagnosis.texts.explanation


@pytest.mark.parametrize(
    ("refused", "accepted"), [("crm@x.test", "admin@x.test"), ("admin@x.test", "crm@x.test")]
)
def test_r50_a_refused_copy_is_reported(refused, accepted):
    """And a refused To as well: a verdict per recipient, and no success."""
    with scripted({f"RCPT {refused}": b"550 5.1.1 unknown\r\n"}) as server:
        diagnosis = diagnosis_of(settings(server.port))
    assert diagnosis.outcome is Outcome.PARTIAL
    assert not diagnosis.passed
    states = {step.recipient: step.state for step in diagnosis.recipients}
    assert states == {refused: StepState.FAILED, accepted: StepState.OK}
    assert refused in diagnosis.texts.explanation
    assert diagnosis.failure.code == Fault.RECIPIENT_UNKNOWN
    assert str(diagnosis.failure.reply) == "550 5.1.1 unknown"
    assert server.messages[0].recipients == ["admin@x.test", "crm@x.test"]


def test_r51_really_uses_server_and_login():
    """All steps in order, the password blanked in the transcript."""
    with scripted({"EHLO": OFFERED}, tls=pki().server()) as server:
        chosen = login_settings(server.port, encryption="starttls", ca_certificate=pki().pem)
        diagnosis = diagnosis_of(chosen)
    assert diagnosis.outcome is Outcome.PASSED
    assert stages(diagnosis) == [
        "resolve",
        "connect",
        "greeting",
        "encryption",
        "authentication",
        "sender",
        "recipient",
        "recipient",
        "content",
        "accepted",
    ]
    facts = diagnosis.steps[3].facts
    assert facts["protocol"] == "TLSv1.3"
    assert "127.0.0.1" in facts["certificate"]
    assert facts["expires"]
    assert facts["issuer"]
    assert "C: AUTH PLAIN ********" in diagnosis.transcript
    assert "hunter2" not in "".join(diagnosis.transcript)
    assert "S: 220 scripted.test ESMTP" in diagnosis.transcript


def test_r51_suppressed_is_no_success_and_touches_nothing():
    """The verdict says that nothing was sent."""
    with scripted() as server:
        diagnosis = diagnosis_of(settings(server.port), suppressed=True)
    assert diagnosis.outcome is Outcome.SUPPRESSED
    assert not diagnosis.passed
    assert diagnosis.texts.title == "Not sent: suppressed"
    assert server.connections == 0


def test_r52_r53_success_says_that_accepted_is_not_arrived():
    """Which mailboxes to look into, and what to correct if nothing came."""
    with scripted() as server:
        texts = diagnosis_of(settings(server.port)).texts
    assert "accepted the test message" in texts.title
    assert "Accepted does not yet mean arrived" in texts.explanation
    assert "admin@x.test" in texts.explanation
    assert "crm@x.test" in texts.explanation
    assert "default To" in texts.advice


def test_steps_come_as_they_happen():
    """A page can show the first ones while the server thinks."""
    with scripted({"MAIL": silence}) as server:
        steps = steps_of_test(settings(server.port), deadline=HURRY)
        seen = [(time.monotonic(), step) for step in steps]
        assert seen[-3][0] < seen[-2][0] - HURRY / 3
        assert isinstance(seen[-1][1], Diagnosis)
        assert all(isinstance(step, Step | Stage) for _, step in seen[:-1])


def test_a_step_is_named_before_it_begins():
    """While it takes its time, a page can say what is going on."""
    with scripted() as server:
        seen = list(steps_of_test(settings(server.port)))
    begun = [event for event in seen if isinstance(event, Stage)]
    # All but the first, which needs no network, and the one that only OAuth 2 has.
    assert begun == [stage for stage in Stage if stage not in (Stage.SETTINGS, Stage.TOKEN)]
    for before, after in pairwise(seen):
        if isinstance(before, Stage):
            assert after.stage is before


def test_a_page_that_goes_away_takes_the_connection_along():
    """Closing the generator closes the socket."""
    with scripted() as server:
        steps = steps_of_test(settings(server.port))
        while next(steps) is not Stage.GREETING:
            pass
        steps.close()
        with scripted():
            pass
        assert server.connections == 1


CANNOT_CONNECT = "the SMTP settings are probably wrong"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_r54_cannot_connect_says_that_the_settings_are_probably_wrong():
    """Check and retry."""
    diagnosis = diagnosis_of(settings(closed_port()))
    assert diagnosis.outcome is Outcome.FAILED
    assert diagnosis.code == "cannot_connect"
    assert CANNOT_CONNECT in diagnosis.texts.explanation
    assert "test again" in diagnosis.texts.advice
    assert diagnosis.failure.code == Fault.REFUSED


def test_r54_r55_an_unknown_name_is_told_with_its_spelling():
    """Resolution has an advice of its own."""
    diagnosis = diagnosis_of(settings(25, smtp_server="nowhere.invalid"))
    assert diagnosis.code == "cannot_connect"
    assert diagnosis.failure.code in (Fault.NAME_UNKNOWN, Fault.NAME_SERVICE)
    assert "nowhere.invalid" in diagnosis.failure.texts.explanation


def test_r55_a_forbidden_address_is_told():
    """T2, the installation's own list included."""
    policy = ConnectPolicy(deny=(ip_network("127.0.0.0/8"),))
    with scripted() as server:
        diagnosis = diagnosis_of(settings(server.port), transports=Transports(policy))
        assert server.connections == 0
    assert diagnosis.failure.code == Fault.ADDRESS_FORBIDDEN


R55 = [
    ({"GREETING": b"421 busy\r\n"}, {}, Stage.GREETING, Fault.GREETING_TRANSIENT),
    ({"GREETING": b"554 go away\r\n"}, {}, Stage.GREETING, Fault.GREETING_REFUSED),
    ({"GREETING": b"HTTP/1.1 400\r\n"}, {}, Stage.GREETING, Fault.NOT_SMTP),
    ({"GREETING": close}, {}, Stage.GREETING, Fault.LOST),
    ({"GREETING": reset}, {}, Stage.GREETING, Fault.LOST),
    ({}, {"encryption": "starttls"}, Stage.ENCRYPTION, Fault.STARTTLS_NOT_OFFERED),
    ({}, {"encryption": "tls"}, Stage.ENCRYPTION, Fault.TLS_NOT_SPOKEN),
    (
        {"EHLO": OFFERED, "STARTTLS": b"454 no\r\n"},
        {"encryption": "starttls"},
        Stage.ENCRYPTION,
        Fault.STARTTLS_REFUSED,
    ),
    ({}, {"use_authentication": True}, Stage.AUTHENTICATION, Fault.LOGIN_MISSING),
    (
        {},
        {"use_authentication": True, "login": "ada"},
        Stage.AUTHENTICATION,
        Fault.PASSWORD_MISSING,
    ),
    (
        {"EHLO": OFFERED},
        {"use_authentication": True, "login": "ada", "password": "x"},
        Stage.AUTHENTICATION,
        Fault.AUTH_UNENCRYPTED,
    ),
    ({"MAIL": b"550 5.7.1 no\r\n"}, {}, Stage.SENDER, Fault.SENDER_REFUSED),
    ({"MAIL": b"451 later\r\n"}, {}, Stage.SENDER, Fault.SENDER_TRANSIENT),
    ({"MAIL": close}, {}, Stage.SENDER, Fault.LOST),
    ({"RCPT": b"550 5.1.1 unknown\r\n"}, {}, Stage.RECIPIENT, Fault.RECIPIENT_UNKNOWN),
    ({"RCPT": b"550 no\r\n"}, {}, Stage.RECIPIENT, Fault.RECIPIENT_REFUSED),
    ({"RCPT": b"451 4.7.1 Greylisted\r\n"}, {}, Stage.RECIPIENT, Fault.RECIPIENT_GREYLISTED),
    ({"RCPT": b"452 4.2.2 over quota\r\n"}, {}, Stage.RECIPIENT, Fault.MAILBOX_FULL),
    ({"DATA": b"554 5.7.1 no\r\n"}, {}, Stage.CONTENT, Fault.CONTENT_REFUSED),
    ({"DATA": close}, {}, Stage.CONTENT, Fault.LOST),
    ({"DOT": b"554 5.7.1 spam\r\n"}, {}, Stage.ACCEPTED, Fault.CONTENT_REFUSED),
    ({"DOT": b"451 later\r\n"}, {}, Stage.ACCEPTED, Fault.CONTENT_TRANSIENT),
    ({"EHLO": b"250-x\r\n250 SIZE 10\r\n"}, {}, Stage.CONTENT, Fault.TOO_BIG),
]


@pytest.mark.parametrize(("answers", "changes", "stage", "fault"), R55)
def test_r55_every_way_to_fail_is_told_apart(answers, changes, stage, fault):
    """Named, at its step, with the server's words and with what to do."""
    with scripted(answers) as server:
        diagnosis = diagnosis_of(settings(server.port, **changes))
    assert diagnosis.outcome is Outcome.FAILED
    failure = diagnosis.failure
    assert (failure.stage, failure.code) == (stage, fault)
    assert diagnosis.steps[-1] is failure
    assert failure.texts.title
    assert failure.texts.advice
    assert (diagnosis.code == "cannot_connect") == (
        stage in (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.ENCRYPTION)
    )


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"535 5.7.8 wrong\r\n", Fault.AUTH_REJECTED),
        (b"454 4.7.0 later\r\n", Fault.AUTH_TRANSIENT),
    ],
)
def test_r55_refused_logins_are_told_apart(answer, fault):
    """Wrong, or not checked at the moment."""
    with scripted({"EHLO": OFFERED, "AUTH": answer}) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        diagnosis = diagnosis_of(chosen)
    assert diagnosis.failure.code == fault
    assert diagnosis.failure.stage is Stage.AUTHENTICATION


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ({"MAIL": b"530 5.7.0 Authentication required\r\n"}, Fault.AUTH_REQUIRED),
        ({"RCPT": b"554 5.7.1 <a@b>: Relay access denied\r\n"}, Fault.RELAY_DENIED),
        ({"RCPT": b"550 5.7.1 Unable to relay\r\n"}, Fault.RELAY_DENIED),
    ],
)
def test_r24_want_of_authentication_is_explained(answers, fault):
    """The advice is the check box."""
    with scripted(answers) as server:
        diagnosis = diagnosis_of(settings(server.port))
    assert diagnosis.failure.code == fault
    assert "SMTP authentication" in diagnosis.failure.texts.advice


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_r55_a_refused_certificate_is_shown(encryption):
    """Its names, issuer and expiry, so that somebody can see what is wrong with it."""
    answers = {"EHLO": OFFERED}
    if encryption == "tls":
        answers["GREETING"] = then(encrypt, b"220 hello\r\n")
    with scripted(answers, tls=other_pki().server("mail.other.test")) as server:
        diagnosis = diagnosis_of(settings(server.port, encryption=encryption))
        assert not {"AUTH", "MAIL"} & set(server.commands())
    failure = diagnosis.failure
    assert failure.code == Fault.CERTIFICATE_UNKNOWN_CA
    assert failure.facts["certificate"] == "mail.other.test"
    assert failure.facts["issuer"]
    assert "UTC" in failure.facts["expires"]


def test_r55_a_silent_server_that_waits_for_tls_is_found_out():
    """STARTTLS chosen at a port for TLS: the second look begins with TLS."""
    with scripted({"GREETING": then(encrypt, b"220 hello\r\n")}, tls=pki().server()) as server:
        chosen = settings(server.port, encryption="starttls")
        diagnosis = diagnosis_of(chosen, deadline=4 * HURRY)
    assert diagnosis.failure.code == Fault.TLS_EXPECTED
    assert diagnosis.outcome is Outcome.FAILED
    assert diagnosis.seconds < 4 * HURRY + 0.3


SLOW = {
    "mute": ({"GREETING": silence}, "no_answer"),
    "drip": ({"GREETING": drip(b"220-x\r\n", 0.1)}, "no_answer"),
    "drip of letters": ({"GREETING": drip(b"2", 0.1)}, "no_answer"),
    "EHLO": ({"EHLO": silence}, "no_answer"),
    "MAIL": ({"MAIL": silence}, "no_answer"),
    "RCPT": ({"RCPT": drip(b"250-x\r\n", 0.1)}, "no_answer"),
    "DATA": ({"DATA": silence}, "no_answer"),
    "dot": ({"DOT": silence}, "no_answer_at_end"),
    "QUIT": ({"QUIT": silence}, "passed"),
}


@pytest.mark.parametrize("name", SLOW)
def test_r55_no_answer_in_time_is_a_verdict_of_its_own(name):
    """Delivery waits longer; after the final dot the test may still arrive."""
    answers, code = SLOW[name]
    with scripted(answers) as server:
        begun = time.monotonic()
        diagnosis = diagnosis_of(settings(server.port), deadline=HURRY)
        assert time.monotonic() - begun < HURRY + 1  # as is promised
    assert diagnosis.code == code
    if code != "passed":
        assert diagnosis.outcome is Outcome.NO_ANSWER
        assert "1.6 seconds" in diagnosis.texts.title
        assert "waits longer" in f"{diagnosis.texts.explanation} {diagnosis.texts.advice}"
    if code == "no_answer_at_end":
        assert "may still arrive" in diagnosis.texts.title


@pytest.mark.parametrize("action", [close, reset, b"350 go on\r\n", b"\x00rubbish\r\n"])
def test_what_is_no_confirmation_after_the_dot_is_no_silence(action):
    """The test may still arrive, and nobody waited for 15 seconds."""
    with scripted({"DOT": action}) as server:
        diagnosis = diagnosis_of(settings(server.port))
    assert (diagnosis.code, diagnosis.outcome) == ("lost_at_end", Outcome.NO_ANSWER)
    assert diagnosis.failure.stage is Stage.ACCEPTED
    assert "may still arrive" in diagnosis.texts.title
    assert "second" not in f"{diagnosis.texts.title} {diagnosis.texts.explanation}"
    assert diagnosis.seconds < HURRY


@pytest.mark.parametrize(
    ("answers", "changes"),
    [
        ({"EHLO": b"421 4.3.2 not now\r\n"}, {}),
        ({}, {"encryption": "starttls"}),
        ({"EHLO": OFFERED}, {"encryption": "starttls"}),
        ({}, {"default_to": None}),
        ({}, {"use_authentication": True}),
        ({"MAIL": b"550 5.7.1 no\r\n"}, {}),
        ({"RCPT": b"550 5.1.1 who?\r\n"}, {}),
        ({"DOT": b"554 5.7.1 spam\r\n"}, {}),
    ],
)
def test_the_headline_is_the_failed_steps_own(answers, changes):
    """Title and advice; that there is no connection is said only where there is none."""
    with scripted(answers, tls=other_pki().server()) as server:
        diagnosis = diagnosis_of(settings(server.port, **changes))
    own = diagnosis.failure.texts
    assert (diagnosis.texts.title, diagnosis.texts.advice) == (own.title, own.advice)
    assert own.explanation in diagnosis.texts.explanation
    assert CANNOT_CONNECT not in diagnosis.texts.explanation
    assert "onnection" not in diagnosis.texts.title


def test_421_at_ehlo_says_one_thing():
    """Nothing is wrong with the settings, as far as one can see."""
    with scripted({"EHLO": b"421 4.3.2 not now\r\n"}) as server:
        texts = diagnosis_of(settings(server.port)).texts
    assert "Nothing is wrong with the settings" in texts.advice
    assert "wrong" not in f"{texts.title} {texts.explanation}"


def test_nonsense_of_a_mail_server_makes_it_no_other_kind_of_server():
    """It greeted as one."""
    with scripted({"MAIL": b"what?\r\n"}) as server:
        diagnosis = diagnosis_of(settings(server.port))
    assert diagnosis.failure.code == Fault.NONSENSE
    assert "what?" in diagnosis.texts.explanation


@pytest.mark.parametrize("trusted", ["root", "intermediate"])
@pytest.mark.parametrize("ended", ["root", "intermediate", "server"])
def test_which_certificate_has_ended_is_told(trusted, ended):
    """The server's own, or one above it; and whether it is the one in the settings."""
    made = chain(ended=ended)
    pem = getattr(made, trusted)
    with scripted({"EHLO": OFFERED}, tls=made.server) as server:
        chosen = settings(server.port, encryption="starttls", ca_certificate=pem)
        diagnosis = diagnosis_of(chosen)
    if (trusted, ended) == ("intermediate", "root"):
        assert diagnosis.passed
        return
    fault = Fault.CERTIFICATE_EXPIRED if ended == "server" else Fault.CERTIFICATE_ABOVE
    assert diagnosis.failure.code == fault
    assert "127.0.0.1" in diagnosis.failure.facts["certificate"]
    ours = diagnosis.failure.facts.get("end of the CA certificate")
    assert bool(ours) == (trusted == ended)


def test_a_certificate_of_nonsense_is_refused_like_any_other():
    """The second look at it shows what can be read."""
    with scripted({"EHLO": OFFERED}, tls=self_signed(odd=True)) as server:
        diagnosis = diagnosis_of(settings(server.port, encryption="starttls"))
    assert diagnosis.failure.code == Fault.CERTIFICATE_UNKNOWN_CA
    assert diagnosis.failure.facts["certificate"] == "127.0.0.1"


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
def test_421_says_the_same_wherever_it_comes(at):
    """The server goes away: neither sender nor recipient nor the lost connection is to blame."""
    with scripted({at: then(b"421 4.3.2 shutting down\r\n", close)}) as server:
        told = diagnosis_of(settings(server.port))
    assert told.failure.code == Fault.GREETING_TRANSIENT
    assert told.texts.title == "The server says: not now"
    assert "421 4.3.2" in str(told.failure.reply)


NO_ROUTE = OSError(errno.ENETUNREACH, "Network is unreachable")
NO_IPV6 = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")


@pytest.mark.parametrize("other", [NO_ROUTE, NO_IPV6, OSError(errno.EADDRNOTAVAIL, "")])
@pytest.mark.parametrize(
    ("error", "fault"),
    [(ConnectionRefusedError(), Fault.REFUSED), (TimeoutError(), Fault.CONNECT_TIMEOUT)],
)
def test_a_machine_without_ipv6_is_not_why_a_port_is_closed(error, fault, other):
    """The cause is the one that explains all addresses, whichever was tried last."""
    assert unconnected([error, other], "x", 25).fault is fault
    assert unconnected([other, error], "x", 25).fault is fault
    assert unconnected([other, other], "x", 25).fault is Fault.UNREACHABLE


def test_what_each_address_said_is_shown(monkeypatch):
    """Of a server that has several."""
    closed = closed_port()

    def two(*_: object) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(socket.AF_INET, (f"127.0.0.{host}", closed)) for host in (1, 2))

    monkeypatch.setattr(session, "resolve", two)
    diagnosis = diagnosis_of(settings(closed), deadline=HURRY)
    assert diagnosis.failure.code == Fault.REFUSED
    said = dict.fromkeys(("127.0.0.1", "127.0.0.2"), "Nothing answers at this port")
    assert diagnosis.failure.facts == said


@pytest.mark.parametrize("data", [b"x" * 4096, b"220-more\r\n" * 99, b"\x1b]0;hi\x07\0\xff\r\n"])
def test_endless_and_ugly_answers_end_and_are_shown_harmlessly(data):
    """Bounded in lines and bytes; the transcript is printable and short."""
    with scripted({"GREETING": flood(data)}) as server:
        begun = time.monotonic()
        diagnosis = diagnosis_of(settings(server.port), deadline=HURRY)
        assert time.monotonic() - begun < HURRY + 1  # as is promised
    assert diagnosis.failure.code == Fault.NOT_SMTP
    assert all(line.isprintable() for line in diagnosis.transcript)
    assert len(diagnosis.transcript) <= 200
    assert sum(map(len, diagnosis.transcript)) < 64 * 1024


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"default_to": None}, Fault.SETTINGS_INCOMPLETE),
        ({"default_from": None}, Fault.SETTINGS_INCOMPLETE),
        ({"company_domain": None}, Fault.ADDRESS_UNUSABLE),
        ({"smtp_server": None}, Fault.SETTINGS_INCOMPLETE),
    ],
)
def test_r55_what_is_missing_is_said_before_anything_is_tried(changes, fault):
    """A short address without a company domain is named."""
    with scripted() as server:
        diagnosis = diagnosis_of(settings(server.port, **changes))
        assert server.connections == 0
    assert diagnosis.failure.code == fault
    assert diagnosis.code == "incomplete"


def test_divert_and_pause_are_not_obeyed_and_that_is_said():
    """The test tests the settings, not the traffic."""
    with scripted() as server:
        chosen = settings(server.port, divert_to="sink@x.test", paused=True)
        diagnosis = diagnosis_of(chosen)
    assert server.messages[0].recipients == ["admin@x.test", "crm@x.test"]
    assert diagnosis.notes == ("paused", "diverted")
    assert "sink@x.test" in diagnosis.note_texts[1]


def test_what_was_found_can_be_stored():
    """As JSON, without the password."""
    with scripted({"EHLO": OFFERED}) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        diagnosis = diagnosis_of(chosen)
    stored = json.dumps(diagnosis.to_json())
    assert "hunter2" not in stored
    assert json.loads(stored)["verdict"] == "passed"
    assert diagnosis.steps[4].code == "logged_in_openly"
    assert diagnosis.steps[4].state is StepState.WARNING


def test_every_fault_has_an_advice():
    """Title, explanation and what to do, whose placeholders are known."""
    known = dict.fromkeys(
        ("server", "port", "login", "to", "sender", "address", "detail"), "something"
    )
    assert set(FAULTS) == set(Fault)
    for advice in FAULTS.values():
        filled = advice.filled(known)
        assert all((filled.title, filled.explanation, filled.advice))
        assert "…" not in f"{filled.title}{filled.explanation}{filled.advice}"


@pytest.mark.usefixtures("brackets")
def test_a_test_is_told_in_the_readers_language_and_stored_in_english():
    """Its steps, the facts beside them, what failed, and what it came to."""
    with scripted() as server:
        passed = diagnosis_of(settings(server.port))
    mailboxes = "⟦⟦the mailbox admin@x.test⟧ and ⟦the mailbox crm@x.test⟧⟧"
    assert f"Look into {mailboxes}, including" in passed.texts.explanation
    assert all(step.texts.title.startswith("⟦") for step in passed.steps)
    with scripted({"GREETING": close}) as server:
        lost = diagnosis_of(settings(server.port))
    assert lost.failure is not None
    ended = "ended the connection. ⟦The server ended the connection.⟧⟧"
    assert lost.failure.texts.explanation.endswith(ended)
    assert lost.texts.title == "⟦The connection was cut⟧"
    assert lost.texts.explanation.startswith("⟦The test message was not sent.⟧ ⟦The server, or a")
    for end in (passed, lost):
        assert "⟦" not in json.dumps(end.to_json(), ensure_ascii=False)
    missing = diagnosis_of(settings(1, default_to=None)).texts
    assert "a default From. ⟦There is nobody to send this to, and" in missing.explanation
