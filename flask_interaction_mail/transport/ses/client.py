"""Signed requests to Amazon SES over one kept connection.

botocore signs them (AWS Signature Version 4), and finds the credentials of the machine where no key
was entered. It sends nothing itself: its HTTP client knows no connect policy, and would send a
message again whose answer was lost. Its modules are imported with the first request, as they take
tens of milliseconds.
"""

from __future__ import annotations

import functools
import http.client
import threading
from typing import TYPE_CHECKING, Any, Final

from ...errors import TransportError
from ...language import mark, said_by
from ...outcome import Fault, Stage
from ...settings.relay import Relay
from ...settings.rules import NO_BOTOCORE
from ..http import LOST, SILENT, Answer, Connection, RequestFailed
from ..policy import ConnectPolicy
from ..smtp.connect import within
from ..smtp.timeouts import Until
from ..smtp.tls import CertificateUnreadable, explain

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_SERVICE: Final = "ses"  # the name that requests are signed for
_CONNECT: Final = 30.0  # s
_MOST: Final = 64 * 1024  # bytes of an answer
_CHAIN: Final = threading.Lock()


class Broken(TransportError):
    """The connection ended in the middle; ``asked`` is whether the request had left completely."""

    def __init__(self, text: str, fault: Fault, *, asked: bool) -> None:
        super().__init__(text, stage=Stage.CONTENT, fault=fault)
        self.asked = asked


class Client:
    """Asks one relay; for one thread at a time, except ``close``."""

    def __init__(self, relay: Relay, policy: ConnectPolicy) -> None:
        self._relay = relay
        self._policy = policy
        self.connection: Connection | None = None

    def open(self, until: Until) -> Connection:
        """The kept connection, or a new one.

        Raises:
            TransportError: the service cannot be reached.
        """
        kept = self.connection
        if kept is not None and kept.usable:
            return kept
        self.close()
        relay = self._relay
        self.connection = opened = Connection(relay.url, self._policy, relay.ca_certificate)
        try:
            opened.open(until.step(_CONNECT))
        except CertificateUnreadable as error:
            raise _unreachable(Stage.ENCRYPTION, said_by(error), Fault.CA_UNREADABLE) from error
        except RequestFailed as error:
            raise _unreachable(Stage.CONNECT, said_by(error), Fault.SES_UNREACHABLE) from error
        except TransportError as error:
            raise _unreachable(error.stage, said_by(error), Fault.SES_UNREACHABLE) from error
        except (OSError, ValueError) as error:
            fault, said = explain(error)
            certificate = fault.value.startswith("certificate_")
            why = fault if certificate else Fault.SES_UNREACHABLE
            raise _unreachable(Stage.ENCRYPTION, said, why) from error
        return opened

    def ask(self, method: str, target: str, body: bytes | None, until: Until) -> Answer:
        """Send one signed request; gives its answer, of 64 KiB at most.

        Raises:
            TransportError: nothing was asked.
            Broken: nobody knows whether it was.
        """
        signed = self._signed(method, target, body)
        connection = self.open(until)

        def run() -> Answer:
            return connection.ask(method, target, body, signed, until=until, most=_MOST)

        try:
            answer = within(until, run)  # all of it, where a socket would count each read alone
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _broken(
                connection, SILENT if isinstance(error, TimeoutError) else LOST
            ) from error
        if answer is None:
            raise _broken(connection, SILENT)
        return answer

    def close(self) -> None:
        """Break the connection. Never raises."""
        if (connection := self.connection) is not None:
            connection.close()

    def _signed(self, method: str, target: str, body: bytes | None) -> dict[str, str]:
        """The header fields of a request, with its signature."""
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
        except ImportError as error:
            raise _no_signature(NO_BOTOCORE, Fault.SES_MISSING) from error
        url = f"{self._relay.url}{target}"
        # The name with the port, as it stands in the request.
        fields = {"Content-Type": "application/json"} if body is not None else {}
        request = AWSRequest(method, url, data=body or b"", headers=fields)
        SigV4Auth(credentials(self._relay), _SERVICE, self._relay.region).add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}


def credentials(relay: Relay) -> Credentials:
    """The key that was entered, or what the machine has.

    Raises:
        TransportError: there is none.
    """
    from botocore.credentials import Credentials

    if relay.login and relay.secret:
        return Credentials(relay.login, relay.secret.reveal())
    found = None if relay.login else _of_machine()
    if found is None:
        raise _no_signature(
            mark(
                "There is no key to sign with: none was entered for this region, and this machine "
                "has no credentials of AWS."
            ),
            Fault.SES_NO_KEY,
        )
    return found


def _of_machine() -> Credentials | None:
    """Environment, files, or the role of the machine or container, in botocore's order."""
    from botocore.exceptions import BotoCoreError

    try:
        with _CHAIN:  # asked once; what it finds renews itself
            chain: Any = _session()
            found: Credentials | None = chain.get_credentials()
            return found
    except BotoCoreError:
        return None


@functools.cache
def _session() -> Any:
    from botocore.session import Session

    return Session()


def _broken(connection: Connection, text: str) -> Broken:
    connection.close()
    said = mark(text, host=connection.host)
    return Broken(said, Fault.SES_UNREACHABLE, asked=connection.asked)


def _no_signature(text: str, fault: Fault) -> TransportError:
    return TransportError(text, stage=Stage.AUTHENTICATION, transient=False, fault=fault)


def _unreachable(stage: Stage, text: str, fault: Fault) -> TransportError:
    return TransportError(text, stage=stage, fault=fault)
