"""A real Dovecot of its own that checks access tokens, with its submission server and Postfix.

It checks them by itself, as JWTs under a key, or asks a server of tokens about each
(introspection, RFC 7662). It needs root and the Debian packages dovecot-core,
dovecot-submissiond and postfix; directories and ports are its own.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from . import postfix
from .programs import free_port, program, wait_for_port

USER = "crm@x.test"
KEY = b"of the tests alone, 32 bytes long."
OF_ITS_OWN = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
listen = 127.0.0.1
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
auth_verbose = yes
mail_location = maildir:{root}/mail
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {root}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/mail
}}
"""
_DOVECOT = """\
protocols = submission
ssl = no
auth_mechanisms = xoauth2 oauthbearer
submission_relay_host = 127.0.0.1
submission_relay_port = {behind}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
service auth {{
  inet_listener {{
    port = {sasl}
  }}
}}
"""
_LOCAL = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={root}/keys/
username_attribute = sub
"""
_ASKING = """\
introspection_mode = post
introspection_url = http://127.0.0.1:{introspection}/
username_attribute = sub
active_attribute = active
active_value = true
timeout_msecs = 2000
"""
_POSTFIX = (
    postfix.OF_ITS_OWN
    + """\
myhostname = mx.x.test
mynetworks =
default_transport = discard:elsewhere
relay_transport = discard:elsewhere
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_tls_security_level = none
"""
)


@dataclass
class Dovecot:
    """A running pair; ``introspected`` are the tokens that Dovecot has asked about."""

    root: Path
    submission: int = field(default_factory=free_port)
    postfix: int = field(default_factory=free_port)
    sasl: int = field(default_factory=free_port)
    behind: int = field(default_factory=free_port)  # to which Dovecot passes on
    introspected: list[str] = field(default_factory=list)
    introspection_works: bool = True

    def log(self) -> str:
        """What both wrote."""
        logs = [self.root / "dovecot.log", self.root / "postfix" / "mail.log"]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())


def jwt(user: str = USER, *, lasts: int = 3600, key: bytes = KEY, padding: int = 0) -> str:
    """A token for ``user`` that Dovecot's own check takes; longer by ``padding``."""
    now = int(time.time())
    claims = {"sub": user, "iat": now - 5, "nbf": now - 5, "exp": now + lasts, "pad": "x" * padding}
    parts = [_coded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_coded(hmac.digest(key, signed.encode(), 'sha256'))}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def running_dovecot(*, introspection: bool = False) -> Iterator[Dovecot]:
    """Run both until the block ends; skips the test where that is not possible."""
    dovecot = program("dovecot", package="dovecot-submissiond")
    program("postfix", package="postfix")
    if os.geteuid() != 0 or not Path("/usr/lib/dovecot/submission").exists():
        pytest.skip("Dovecot needs root and the Debian package dovecot-submissiond")
    with contextlib.ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="interaction-mail-dovecot-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        instance = Dovecot(root)
        asked = stack.enter_context(_introspection(instance)) if introspection else 0
        _configure(instance, asked)
        stack.enter_context(running(dovecot, root, instance.submission))
        folder = root / "postfix"
        daemons = subprocess.run(
            ["postconf", "-c", folder, "-h", "daemon_directory"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        subprocess.run(["postfix", "-c", folder, "check"], check=True, capture_output=True)
        master = [f"{daemons}/master", "-c", str(folder), "-d"]
        stack.enter_context(_running(master, instance.postfix, {"MAIL_CONFIG": str(folder)}))
        yield instance


def configure(root: Path, configuration: str, *, introspection: int = 0, **values: Any) -> None:
    """Write what a Dovecot in ``root`` needs; its ``configuration`` goes behind ``OF_ITS_OWN``."""
    nobody = pwd.getpwnam("nobody")
    for name in ("run", "state", "mail", "keys/default/HS256"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    shutil.chown(root / "mail", nobody.pw_uid, nobody.pw_gid)
    values |= {"root": root, "uid": nobody.pw_uid, "gid": nobody.pw_gid}
    text = OF_ITS_OWN + configuration
    (root / "dovecot.conf").write_text(text.format(**values))
    checks = _ASKING if introspection else _LOCAL
    (root / "oauth2.conf").write_text(checks.format(root=root, introspection=introspection))
    (root / "keys/default/HS256/default").write_text(base64.b64encode(KEY).decode())


def running(dovecot: str, root: Path, port: int) -> contextlib.AbstractContextManager[None]:
    """Run what ``configure`` has written, until the block ends."""
    return _running([dovecot, "-F", "-c", str(root / "dovecot.conf")], port, {})


@contextlib.contextmanager
def _running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    running = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_port(port, 20)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(10)


@contextlib.contextmanager
def _introspection(instance: Dovecot) -> Iterator[int]:
    """The server of tokens: knows those that ``jwt`` makes, as long as it works."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            token = body.partition("token=")[2].partition("&")[0]
            instance.introspected.append(token)
            self.send_response(200 if instance.introspection_works else 500)
            self.end_headers()
            known = token.count(".") == 2 and token == _again(token)
            answer: dict[str, Any] = {"active": known}
            self.wfile.write(json.dumps(answer | ({"sub": USER} if known else {})).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _again(token: str) -> str:
    signed = token.rpartition(".")[0]
    return f"{signed}.{_coded(hmac.digest(KEY, signed.encode(), 'sha256'))}"


def _configure(instance: Dovecot, introspection: int) -> None:
    ports = {"behind": instance.behind, "port": instance.submission, "sasl": instance.sasl}
    configure(instance.root, _DOVECOT, introspection=introspection, **ports)
    folder = instance.root / "postfix"
    for name in ("queue", "data"):
        (folder / name).mkdir(parents=True)
    shutil.chown(folder / "data", "postfix")
    (folder / "main.cf").write_text(_POSTFIX.format(root=folder, **ports))
    services = (
        f"127.0.0.1:{instance.postfix} inet n - n - - smtpd\n"
        f"127.0.0.1:{instance.behind} inet n - n - - smtpd -o mynetworks=127.0.0.1\n"
        "  -o smtpd_recipient_restrictions=permit_mynetworks,reject\n"
        "  -o smtpd_relay_restrictions=permit_mynetworks,reject\n"
    )
    (folder / "master.cf").write_text(services + postfix.SERVICES)
