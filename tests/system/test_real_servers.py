"""Real mail servers side by side: the outbox says of each recipient what the server has stored."""

from __future__ import annotations

import pytest

from tests.servers.stand.trial import trial

_OLD_NODE = pytest.mark.allowed_skip(reason="Haraka needs Node.js 20, which Debian 12 has not")


@pytest.mark.parametrize(
    "server", ["postfix", "smtp-server", "aiosmtpd", pytest.param("haraka", marks=_OLD_NODE)]
)
def test_each_recipient_is_judged_as_the_server_has_stored(server):
    """Nothing is lost, doubled, wrongly judged or changed, and no message waits for long."""
    result = trial(server, mixed=40, small=80)
    if result.account is None or result.drained is None:
        pytest.skip(result.why)
    assert result.account.right, result.account.examples
    assert result.account.changed == 0
    assert result.account.recipients > 250
    assert result.drained.pause < 30
    # The way back, where it passes mail on: each report finds its message and its recipient.
    assert result.returned is None or result.returned.right, result.returned
    assert (result.returned is None) is (server in ("smtp-server", "aiosmtpd"))
