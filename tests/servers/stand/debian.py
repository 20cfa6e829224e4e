"""The servers that Debian brings besides Postfix, each in a room of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.canary import PASSWORD
from tests.servers.programs import free_port

from .letters import DOMAIN, ELSEWHERE, REFUSED
from .room import room
from .running import Running, shelf

_LOGIN = {
    "use_authentication": True,
    "login": "crm",
    "password": PASSWORD,
    "allow_unencrypted_auth": True,
}

_EXIM = """\
dc_eximconfig_configtype='smarthost'
dc_other_hostnames=''
dc_local_interfaces='127.0.0.1.{port}'
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='true'
dc_relay_nets='127.0.0.1'
dc_smarthost='127.0.0.1::{shelf}'
CFILEMODE='644'
dc_use_split_config='false'
dc_hide_mailname='false'
dc_mailname_in_oh='true'
dc_localdelivery='mail_spool'
"""


@contextlib.contextmanager
def _relaying(
    folder: Path,
    packages: str,
    files: Mapping[str, str],
    start: str,
    *,
    refusing: bool = False,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Running]:
    """Run it with what it passes on kept; ``{port}`` and ``{shelf}`` stand for the two ports.

    ``refusing`` says that it leaves it to its relay to refuse, while we wait: it reports nothing.
    """
    port = free_port()
    with shelf(folder, refusing=refusing) as (shelf_port, stored):

        def filled(text: str) -> str:
            return text.replace("{port}", str(port)).replace("{shelf}", str(shelf_port))

        ready = {name: filled(text) for name, text in files.items()}
        with room(folder, packages, ready, filled(start), port) as version:
            returned = None if refusing else folder / "returned"
            yield Running(port, version, stored, settings=settings, returned=returned)


def exim(folder: Path) -> AbstractContextManager[Running]:
    """Exim, which relays for this machine."""
    files = {
        "/etc/exim4/update-exim4.conf.conf": _EXIM,
        "/etc/exim4/exim4.conf.localmacros": (
            "MAIN_HARDCODE_PRIMARY_HOSTNAME = exim.test\n"
            f"CHECK_RCPT_REMOTE_LOCALPARTS = ^{REFUSED}\n"
        ),
    }
    start = (
        "cd /etc/exim4\n"
        # It takes a relay on this machine for itself, unless told otherwise.
        "sed -i '/route_list = . DCsmarthost byname/a self = send' exim4.conf.template\n"
        "update-exim4.conf\n"
        "exec exim4 -bdf -q1m\n"
    )
    return _relaying(folder, "exim4-daemon-light exim4-config", files, start)


def opensmtpd(folder: Path) -> AbstractContextManager[Running]:
    """OpenSMTPD, which relays for this machine."""
    config = (
        "listen on 127.0.0.1 port {port} hostname opensmtpd.test\n"
        f'table refused {{ "^{REFUSED}" }}\n'
        'action "relay" relay host "smtp://127.0.0.1:{shelf}"\n'
        "match from any for rcpt-to regex <refused> reject\n"
        'match from any for any action "relay"\n'
    )
    return _relaying(folder, "opensmtpd", {"/etc/smtpd.conf": config}, "exec smtpd -d\n")


def sendmail(folder: Path) -> AbstractContextManager[Running]:
    """Sendmail, which relays for this machine."""
    start = (
        "cd /etc/mail\n"
        r"sed -i -e 's/Port=smtp, Addr/Port={port}, Addr/' -e '/Name=MSP-v4/d'"
        " -e '/^MAILER_DEFINITIONS/e cat /more.mc' sendmail.mc\n"
        "m4 sendmail.mc >sendmail.cf\n"
        f"echo 'To:{ELSEWHERE} ERROR:5.1.1:550 no such mailbox' >>access\n"
        "makemap hash access <access\n"
        "exec sendmail-mta -bD -q5s\n"
    )
    more = (
        "define(`confDOMAIN_NAME', `sendmail.test')dnl\n"
        "FEATURE(`accept_unresolvable_domains')dnl\n"
        "FEATURE(`blocklist_recipients')dnl\n"
        "define(`SMART_HOST', `esmtp:[127.0.0.1]')dnl\n"
        "define(`ESMTP_MAILER_ARGS', `TCP $h {shelf}')dnl\n"
    )
    return _relaying(folder, "sendmail-bin m4", {"/more.mc": more}, start)


def courier(folder: Path) -> AbstractContextManager[Running]:
    """Courier, which relays to one domain."""
    files = {
        "/etc/courier/me": "courier.test\n",
        "/etc/courier/defaultdomain": "courier.test\n",
        "/etc/courier/locals": "courier.test\n",
        "/etc/courier/esmtproutes": ":[127.0.0.1],{shelf}\n",
        "/etc/courier/esmtpacceptmailfor.dir/default": f"{DOMAIN}\n",
        "/etc/courier/smtpaccess/default": "127.0.0.1\tallow\n",
    }
    start = (
        "cd /etc/courier\n"
        "sed -i -e 's/^PORT=.*/PORT={port}/' -e 's/^BOFHCHECKDNS=.*/BOFHCHECKDNS=0/' esmtpd\n"
        "echo ADDRESS=127.0.0.1 >>esmtpd\n"
        # It would drop its reports about mail of clients who may not relay.
        "sed -i '/^ESMTP_BLOCKBACKSCATTER=/d' courierd\n"
        "install -d -o courier -g courier /run/courier /run/courier/authdaemon\n"
        "makesmtpaccess\nmakeacceptmailfor\nmakealiases\n"
        "courierfilter start || true\n"
        "/usr/sbin/courier start\n"
        "esmtpd start\n"
        "sleep infinity\n"
    )
    return _relaying(folder, "courier-mta", files, start)


def qpsmtpd(folder: Path) -> AbstractContextManager[Running]:
    """qpsmtpd, which relays to one domain."""
    files = {
        "/etc/qpsmtpd/plugins": "rcpt_ok\nqueue/smtp-forward 127.0.0.1 {shelf}\n",
        "/etc/qpsmtpd/rcpthosts": f"{DOMAIN}\n",
        "/etc/qpsmtpd/relayclients": "",
        "/etc/qpsmtpd/me": "qpsmtpd.test\n",
        "/etc/qpsmtpd/spool_dir": "/var/spool/qpsmtpd/tmp\n",
    }
    start = (
        "install -d -o qpsmtpd -m 700 /var/spool/qpsmtpd/tmp\n"
        "export QPSMTPD_CONFIG=/etc/qpsmtpd\n"
        "exec qpsmtpd-forkserver -l 127.0.0.1 -p {port} -u qpsmtpd\n"
    )
    return _relaying(folder, "qpsmtpd", files, start, refusing=True)


def dovecot(folder: Path) -> AbstractContextManager[Running]:
    """Dovecot's submission server, with a login, in front of a relay that refuses."""
    config = (
        "protocols = submission\nlisten = 127.0.0.1\nssl = no\n"
        "disable_plaintext_auth = no\nhostname = dovecot.test\n"
        "log_path = /stand/dovecot.log\nmail_location = maildir:/tmp/mail-%u\n"
        "submission_relay_host = 127.0.0.1\nsubmission_relay_port = {shelf}\n"
        f"passdb {{\n driver = static\n args = password={PASSWORD}\n}}\n"
        "userdb {\n driver = static\n args = uid=nobody gid=nogroup home=/tmp\n}\n"
        "service submission-login {\n inet_listener submission {\n  port = {port}\n }\n"
        " inet_listener submissions {\n  port = 0\n }\n}\n"
    )
    files = {"/etc/dovecot/dovecot.conf": config}
    start = "exec dovecot -F\n"
    return _relaying(folder, "dovecot-submissiond", files, start, refusing=True, settings=_LOGIN)


DEBIAN: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "exim": exim,
    "opensmtpd": opensmtpd,
    "dovecot": dovecot,
    "sendmail": sendmail,
    "courier": courier,
    "qpsmtpd": qpsmtpd,
}
