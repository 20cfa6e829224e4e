"""Access tokens at real servers: Dovecot's submission, and Postfix that asks Dovecot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Result
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.settings.relay import SignIn
from flask_interaction_mail.transport.smtp.timeouts import Timeouts
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.servers.clients import envelope, settings
from tests.servers.dovecot import USER, jwt, running_dovecot
from tests.servers.programs import found, free_port
from tests.servers.stand.running import NODE, process
from tests.servers.tokens import TOKEN, Given

# Dovecot delays the logins of an address after bad ones, by up to 15 s.
SLOW = Timeouts(connect=5, greeting=20, command=20, auth=40, data=20, block=20, final=20, quit=1)


@pytest.fixture(scope="module")
def local():
    with running_dovecot() as instance:
        yield instance


@pytest.fixture(scope="module")
def asking():
    with running_dovecot(introspection=True) as instance:
        yield instance


def deliver(port, *tokens):
    relay = replace(
        relay_of(settings(port, allow_unencrypted_auth=True)),
        use_authentication=True,
        sign_in=SignIn.HOST,
        login=USER,
    )
    carrier = SmtpTransport(relay, timeouts=SLOW, tokens=Given(*tokens))
    try:
        return carrier.deliver(envelope())
    finally:
        carrier.close()


@pytest.mark.parametrize("padding", [0, 3000])
@pytest.mark.parametrize("server", ["submission", "postfix"])
def test_a_good_token_logs_in(local, server, padding):
    """In one step and in two: a line of 4 kB is cut by Postfix and refused by Dovecot."""
    token = jwt(padding=padding)
    assert deliver(getattr(local, server), token).result is Result.ACCEPTED, local.log()


@pytest.mark.parametrize("server", ["submission", "postfix"])
def test_a_good_token_is_tried_after_a_bad_one(local, server):
    """On the same connection, which both allow."""
    tokens = (jwt(key=b"another key"), jwt())
    assert deliver(getattr(local, server), *tokens).result is Result.ACCEPTED, local.log()


def test_dovecot_tells_why_as_json(local):
    """The challenge is answered, and its words come with the refusal."""
    with pytest.raises(TransportError) as caught:
        deliver(local.submission, jwt(lasts=-60))
    assert caught.value.fault is Fault.OAUTH_REJECTED
    assert "status" in str(caught.value)


@pytest.mark.parametrize("server", ["submission", "postfix"])
def test_a_token_that_is_asked_about(asking, server):
    """By introspection."""
    assert deliver(getattr(asking, server), jwt()).result is Result.ACCEPTED, asking.log()
    assert asking.introspected


@pytest.mark.parametrize(
    ("server", "code"),
    [("submission", 454), ("postfix", 535)],
)
def test_a_535_is_no_proof(asking, server, code):
    """With the introspection down, Dovecot says "not now" and Postfix "wrong": try a fresh one."""
    asking.introspection_works = False
    try:
        with pytest.raises(TransportError) as caught:
            deliver(getattr(asking, server), jwt())
    finally:
        asking.introspection_works = True
    assert caught.value.reply.code == code


@pytest.fixture
def nodemailer(tmp_path):
    """The port of Nodemailer's smtp-server, which takes one token."""
    node = found("node")
    if node is None or not (NODE / "node_modules" / "smtp-server").exists():
        pytest.skip("smtp-server is missing: `make node-servers` fetches it from npm")
    port, script = free_port(), Path(__file__).parents[1] / "servers/stand/npm/xoauth2.js"
    modules = {"NODE_PATH": str(NODE / "node_modules")}
    with process([node, script, str(port), TOKEN], port, tmp_path / "log", environment=modules):
        yield port


def test_nodemailers_server_takes_a_token(nodemailer):
    """After one that it refuses as Google does: with a challenge."""
    assert deliver(nodemailer).result is Result.ACCEPTED
    assert deliver(nodemailer, "wrong", TOKEN).result is Result.ACCEPTED
    with pytest.raises(TransportError) as caught:
        deliver(nodemailer, "wrong")
    assert caught.value.fault is Fault.OAUTH_REJECTED
    assert "status 401" in str(caught.value)
