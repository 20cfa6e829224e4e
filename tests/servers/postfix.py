"""A real Postfix of its own: STARTTLS, TLS, SASL logins, and mailboxes that can be read back.

It needs root (Postfix's daemons change their user) and the Debian packages postfix and
sasl2-bin; directories and ports are its own, so one that the machine runs is not touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.canary import PASSWORD

from .certificates import pki
from .programs import free_port, program, wait_for_port

DOMAIN = "interaction.test"
LOGIN = "crm"
MAILBOXES = ("admin", "crm", "ada")
GONE = "gone.test"  # mail for it is taken, and comes back

# Of any Postfix in the folder ``root`` that speaks with this machine alone.
OF_ITS_OWN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/mail.log
maillog_file_prefixes = {root}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
"""
_MAIN = (
    OF_ITS_OWN
    + """\
myhostname = mx.{domain}
mynetworks =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = texthash:{root}/mailboxes
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_transport = discard:elsewhere
relay_transport = discard:elsewhere
virtual_alias_maps = inline:{{ {{ @{gone}=@left.{gone} }} }}
transport_maps = inline:{{ {{ left.{gone}=error:5.1.1 nobody of that name }} }}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {root}/sasl
smtpd_sasl_local_domain = {domain}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {root}/server.pem
smtpd_tls_session_cache_database =
smtputf8_enable = yes
smtpd_sender_login_maps = static:somebody
"""
)
# Ports at which one thing alone is refused, as administrators do; by Postfix's habit at RCPT.
_STRICT = {
    "client": "smtpd_client_restrictions=reject",
    "helo": "smtpd_helo_restrictions=reject_non_fqdn_helo_hostname",
    "sender": "smtpd_sender_restrictions=reject",
    "domain": "smtpd_sender_restrictions=reject_unknown_sender_domain",
    "owner": "smtpd_sender_restrictions=reject_sender_login_mismatch",
    "room": "smtpd_recipient_limit=3",
    "utf8": "smtputf8_enable=no",
    "relay": "smtpd_relay_restrictions=permit_sasl_authenticated,defer_unauth_destination",
}
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
"""
# What every instance needs besides the ports that it listens at.
SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_TRIES, _TO_START = 3, 20.0  # s for each


@dataclass(frozen=True)
class Postfix:
    """A running instance; ``ca`` is the PEM text that makes its certificate trusted.

    ``strict`` are ports by what is refused there: client, helo, sender, domain (of the sender, for
    now), owner (a sender that is not the login's), relay (for now), room (for a fourth recipient),
    utf8 (SMTPUTF8).
    """

    root: Path
    port: int
    tls_port: int
    ca: str
    strict: dict[str, int]
    domain: str = DOMAIN
    login: str = LOGIN
    password: str = PASSWORD

    def mailbox(self, name: str, *, seconds: float = 10.0, least: int = 1) -> list[EmailMessage]:
        """The messages of ``name``, once there are ``least`` of them or time is over."""
        end = time.monotonic() + seconds
        while len(found := self._messages(name)) < least and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def empty(self) -> None:
        """Throw away what the mailboxes hold."""
        for name in MAILBOXES:
            shutil.rmtree(self.root / "mail" / name, ignore_errors=True)

    def log(self) -> str:
        """What it wrote about its work."""
        log = self.root / "mail.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _messages(self, name: str) -> list[EmailMessage]:
        files = sorted((self.root / "mail" / name / "new").glob("*"))
        parser = BytesParser(policy=policy.default)
        return [parser.parsebytes(file.read_bytes()) for file in files]


@contextlib.contextmanager
def running_postfix() -> Iterator[Postfix]:
    """Run a Postfix until the block ends; skips the test where that is not possible."""
    postfix = program("postfix", package="postfix")
    saslpasswd = program("saslpasswd2", package="sasl2-bin")
    if os.geteuid() != 0:
        pytest.skip("Postfix can be started by root only; its Debian package is postfix")
    with contextlib.ExitStack() as stack:
        for _ in range(_TRIES):
            root = Path(tempfile.mkdtemp(prefix="interaction-mail-postfix-"))
            stack.callback(shutil.rmtree, root, ignore_errors=True)
            strict = {name: free_port() for name in _STRICT}
            instance = Postfix(root, free_port(), free_port(), pki().pem, strict)
            _configure(instance, saslpasswd)
            subprocess.run([postfix, "-c", root, "check"], check=True, capture_output=True)
            try:
                stack.enter_context(_master(instance))
            except ConnectionRefusedError:  # another program has taken one of its ports meanwhile
                continue
            yield instance
            return
        raise RuntimeError(f"Postfix did not start in {_TRIES} tries: {instance.log()[-2000:]}")


@contextlib.contextmanager
def _master(instance: Postfix) -> Iterator[None]:
    daemons = subprocess.run(
        ["postconf", "-c", instance.root, "-h", "daemon_directory"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    running = subprocess.Popen(
        [f"{daemons}/master", "-c", instance.root, "-d"],
        env={**os.environ, "MAIL_CONFIG": str(instance.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for port in (instance.port, instance.tls_port, *instance.strict.values()):
            wait_for_port(port, _TO_START)
        yield
    finally:
        # The daemons are in the master's own session, and end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(10)


def _configure(instance: Postfix, saslpasswd: str) -> None:
    root, nobody = instance.root, pwd.getpwnam("nobody")
    for name in ("queue", "data", "mail", "sasl"):
        (root / name).mkdir()
    shutil.chown(root / "data", "postfix")
    shutil.chown(root / "mail", nobody.pw_uid, nobody.pw_gid)
    root.chmod(0o755)
    values = {"root": root, "domain": DOMAIN, "gone": GONE}
    values |= {"uid": nobody.pw_uid, "gid": nobody.pw_gid}
    (root / "main.cf").write_text(_MAIN.format(**values))
    ports = {"port": instance.port, "tls_port": instance.tls_port}
    strict = [
        f"127.0.0.1:{instance.strict[name]} inet n - n - - smtpd -o {option}\n"
        for name, option in _STRICT.items()
    ]
    (root / "master.cf").write_text(_MASTER.format(**ports) + SERVICES + "".join(strict))
    boxes = [f"{name}@{DOMAIN} {name}/\n" for name in MAILBOXES]
    (root / "mailboxes").write_text("".join(boxes))
    issued = pki().ca.issue_cert("127.0.0.1", "localhost")
    (root / "server.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    (root / "server.pem").chmod(0o600)
    _accounts(root, saslpasswd)


def _accounts(root: Path, saslpasswd: str) -> None:
    (root / "sasl" / "smtpd.conf").write_text(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n"
        f"sasldb_path: {root}/sasldb2\n"
    )
    subprocess.run(
        [saslpasswd, "-p", "-c", "-f", root / "sasldb2", "-u", DOMAIN, LOGIN],
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
    )
    shutil.chown(root / "sasldb2", "postfix")
