"""Logging in with an access token: XOAUTH2 and OAUTHBEARER, word for word."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from dataclasses import replace

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Result, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.settings.relay import SignIn
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.canary import STEM, spellings
from tests.servers.clients import PATIENT, QUICK, envelope, settings
from tests.servers.scripted import Action, close, scripted, silence, then
from tests.servers.tokens import TOKEN, Given

REFUSED = b"535 5.7.8 bad token\r\n"
TOLD = base64.b64encode(b'{"status":"400","schemes":"Bearer","scope":"mail"}')


def ehlo(*mechanisms: str) -> bytes:
    return b"250-x\r\n250-PIPELINING\r\n250 AUTH %s\r\n" % " ".join(mechanisms).encode()


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def xoauth2(token: str = TOKEN) -> str:
    return coded(f"user=crm@x.test\1auth=Bearer {token}\1\1")


def deliver(port, tokens=None, timeouts=PATIENT, **changes):
    values = {"use_authentication": True, "sign_in": SignIn.HOST, "login": "crm@x.test"}
    relay = replace(relay_of(settings(port, allow_unencrypted_auth=True)), **{**values, **changes})
    carrier = SmtpTransport(relay, timeouts=timeouts, tokens=tokens or Given())
    try:
        return carrier.deliver(envelope())
    finally:
        carrier.close()


def fails(port, *args, **changes) -> TransportError:
    with pytest.raises(TransportError) as caught:
        deliver(port, *args, **changes)
    return caught.value


def test_xoauth2_is_preferred():
    """One line, where it is short enough."""
    with scripted({"EHLO": ehlo("PLAIN", "OAUTHBEARER", "XOAUTH2")}) as server:
        assert deliver(server.port).result is Result.ACCEPTED
        assert server.lines[1].decode() == f"AUTH XOAUTH2 {xoauth2()}"


def test_oauthbearer_where_only_that_is_offered():
    """RFC 7628 §3.1, with what GS2 says of a comma and an equals sign in a name."""
    with scripted({"EHLO": ehlo("LOGIN", "OAUTHBEARER")}) as server:
        deliver(server.port, login="a=b,c@x.test")
        verb, mechanism, response = server.lines[1].decode().split(" ")
    assert (verb, mechanism) == ("AUTH", "OAUTHBEARER")
    assert base64.b64decode(response).decode() == (
        f"n,a=a=3Db=2Cc@x.test,\1host=127.0.0.1\1port={server.port}\1auth=Bearer {TOKEN}\1\1"
    )


@pytest.mark.parametrize(("length", "steps"), [(510, 1), (511, 2), (514, 2), (8000, 2)])
def test_a_long_token_goes_out_when_the_server_asks(length, steps):
    """The whole line has at most 512 octets: some servers cut or refuse a longer one."""
    room = (length - len("AUTH XOAUTH2 ")) // 4 * 3
    token = TOKEN + "x" * (room - len(f"user=crm@x.test\1auth=Bearer {TOKEN}\1\1"))
    if steps == 2:
        token += "xxx"
    answers: dict[str, Action | list[Action]] = {
        "EHLO": ehlo("XOAUTH2"),
        "AUTH": [b"235 ok\r\n"] if steps == 1 else [b"334 \r\n"],
        xoauth2(token).upper(): b"235 ok\r\n",
    }
    with scripted(answers) as server:
        assert deliver(server.port, Given(token)).result is Result.ACCEPTED
        first = server.lines[1]
    assert (first != b"AUTH XOAUTH2") == (steps == 1)
    assert max(map(len, [first])) + 2 <= 512


def test_nothing_is_pipelined_with_a_login():
    """The next command comes only after the answer to the one before."""
    seen = []

    def act(peer):
        seen.append(peer.buffer)
        peer.say(b"235 ok\r\n")

    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": act}) as server:
        deliver(server.port)
    assert seen == [b""]


@pytest.mark.parametrize(("mechanism", "end"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
def test_an_error_challenge_is_answered_and_told(mechanism, end):
    """The server tells its error as a challenge, and refuses after the answer to it."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": ehlo(mechanism),
        "AUTH": b"334 " + TOLD + b"\r\n",
        end: REFUSED,
    }
    with scripted(answers) as server:
        error = fails(server.port)
        assert [line.decode() for line in server.lines[2:3]] == [end]
    assert (error.stage, error.fault, error.transient) == (
        Stage.AUTHENTICATION,
        Fault.OAUTH_REJECTED,
        False,
    )
    assert "(status 400, scope mail, schemes Bearer)" in str(error)


@pytest.mark.parametrize(
    "challenge",
    [
        b"!!!",
        base64.b64encode(b"\xff\xfe"),
        base64.b64encode(b"[1, 2]"),
        base64.b64encode(b'{"other": "x"}'),
        base64.b64encode(json.dumps({"error": TOKEN}).encode()),
        base64.b64encode(json.dumps({"scope": {"a": 1}}).encode()),
    ],
)
def test_a_challenge_that_tells_nothing_is_no_reason(challenge):
    """Nor is one that repeats the token."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": ehlo("XOAUTH2"),
        "AUTH": b"334 " + challenge + b"\r\n",
        "": REFUSED,
    }
    with scripted(answers) as server:
        assert str(fails(server.port)).endswith("535 5.7.8 bad token")


def test_what_a_challenge_tells_is_cut_and_made_legible():
    """Control characters are escaped, and a flood is cut."""
    told = json.dumps({"error": "no\x1b[2J\n" + "x" * 500}).encode()
    answers: dict[str, Action | list[Action]] = {
        "EHLO": ehlo("XOAUTH2"),
        "AUTH": b"334 " + base64.b64encode(told) + b"\r\n",
        "": REFUSED,
    }
    with scripted(answers) as server:
        text = str(fails(server.port))
    assert "error no\\x1b[2J\\nxxx" in text
    assert text.isprintable()
    assert len(text) < 300


def test_a_refused_token_is_dropped_and_a_fresh_one_tried_once():
    """On the same connection: 535 is no proof that the token is bad."""
    given = Given("old", "fresh", "another")
    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": [REFUSED, b"235 ok\r\n"]}) as server:
        assert deliver(server.port, given).result is Result.ACCEPTED
        assert server.connections == 1
        logins = [line.decode().split(" ")[-1] for line in server.lines if b"AUTH" in line]
    assert logins == [xoauth2("old"), xoauth2("fresh")]
    assert [token.secret.reveal() for token in given.dropped] == ["old"]


def test_a_fresh_token_that_is_refused_ends_it():
    """Twice is enough: servers delay or lock out who goes on."""
    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": REFUSED}) as server:
        error = fails(server.port, Given("old", "fresh", "another"))
        assert server.count("AUTH") == 2
    assert error.fault is Fault.OAUTH_REJECTED


def test_a_server_that_hangs_up_after_its_refusal_is_quoted():
    """Not the connection that broke: that would hide why."""
    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": then(REFUSED, close)}) as server:
        error = fails(server.port, Given("old", "fresh"))
    assert (error.fault, error.transient) == (Fault.OAUTH_REJECTED, False)


@pytest.mark.parametrize("answer", [b"454 4.7.0 later\r\n", b"535 no\r\n"])
def test_the_same_token_is_not_shown_twice(answer):
    """There is no other one, or nothing was said against it."""
    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": answer}) as server:
        error = fails(server.port)
        assert server.count("AUTH") == 1
    assert error.transient is answer.startswith(b"454")


@pytest.mark.parametrize(
    ("changes", "offered", "fault"),
    [
        ({"allow_unencrypted_auth": False}, ("XOAUTH2",), Fault.AUTH_UNENCRYPTED),
        ({"login": None}, ("XOAUTH2",), Fault.LOGIN_MISSING),
        ({}, ("PLAIN", "LOGIN"), Fault.OAUTH_NOT_OFFERED),
        ({}, (), Fault.OAUTH_NOT_OFFERED),
    ],
)
def test_a_token_is_not_shown_where_it_must_not(changes, offered, fault):
    """0 AUTH, and the reason."""
    with scripted({"EHLO": ehlo(*offered) if offered else b"250 x\r\n"}) as server:
        error = fails(server.port, **changes)
        assert server.count("AUTH") == 0
    assert (error.fault, error.transient) == (fault, False)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (b"535 5.7.3 Authentication unsuccessful", Fault.OAUTH_REJECTED),
        (
            b"535 5.7.139 SmtpClientAuthentication is disabled for the Tenant",
            Fault.OAUTH_SWITCHED_OFF,
        ),
        (b"530 5.7.0 Must issue STARTTLS", Fault.ENCRYPTION_REQUIRED),
        (b"525 5.7.13 disabled", Fault.AUTH_ACCOUNT_DISABLED),
        (b"504 5.7.4 Unrecognized authentication type", Fault.OAUTH_NOT_OFFERED),
    ],
)
def test_each_refusal_has_its_own_word(reply, fault):
    """As those of a password have."""
    with scripted({"EHLO": ehlo("XOAUTH2"), "AUTH": reply + b"\r\n"}) as server:
        assert fails(server.port).fault is fault


@pytest.mark.parametrize(
    "answer", [REFUSED, close, silence, b"334 \r\n", b"rubbish\r\n", b"334 " + TOLD + b"\r\n"]
)
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_the_token_is_in_no_error_and_no_traceback(answer, mechanism, caplog):
    """Raw or in base64, locals included."""
    caplog.set_level(logging.DEBUG)
    with scripted({"EHLO": ehlo(mechanism), "AUTH": answer}) as server:
        error = fails(server.port, None, QUICK)
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    for canary in spellings(STEM):
        assert canary.decode() not in shown + caplog.text
