"""Finding and calling back what is not stored yet."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.transactions import always, call_back, send, waiting


def test_what_waits_can_be_found(host):
    """In the transaction, in its savepoints, and in the context after the session was closed."""
    with host.app.app_context():
        assert waiting(host.session) == []
        send("closed")
        host.session.close()
        send("root")
        savepoint = host.session.begin_nested()
        send("inside")
        assert waiting(host.session) == ["closed", "inside", "root"]
        savepoint.rollback()
        assert waiting(host.session) == ["closed", "root"]
        host.session.commit()
        assert waiting(host.session) == ["closed"]


def test_a_session_is_asked_outside_a_context(host):
    """An explicit session that outlives the context still tells what it carries."""
    with host.app.app_context():
        own = Session(host.engine)
        send("own", session=own)
    assert waiting(own) == ["own"]
    own.rollback()
    assert waiting(own) == []


def test_another_session_has_its_own(host):
    """What waits in one session, or in the context, is not another session's."""
    with host.app.app_context(), Session(host.engine) as own:
        send("left")
        host.session.close()
        send("context")
        send("own", session=own)
        assert waiting(own) == ["own"]
        assert waiting(host.session) == ["context", "left"]
        own.rollback()


def test_called_back_and_committed(host):
    """It is not stored; what was not cancelled is."""
    with host.app.app_context():
        send("gone")
        always("gone fact")
        send("kept")
        assert call_back(host.session, "gone")
        assert call_back(host.session, "gone fact")
        assert waiting(host.session) == ["kept"]
        assert not call_back(host.session, "gone")
        assert not call_back(host.session, "never sent")
        host.session.commit()
    assert host.subjects() == ["kept"]


def test_called_back_in_a_savepoint_that_is_rolled_back(host):
    """The calling back is rolled back with it: the message is sent."""
    with host.app.app_context():
        send("kept")
        savepoint = host.session.begin_nested()
        assert call_back(host.session, "kept")
        savepoint.rollback()
        assert waiting(host.session) == ["kept"]
        host.session.commit()
    assert host.subjects() == ["kept"]


def test_called_back_in_a_savepoint_that_is_released(host):
    """The calling back goes on with the outer transaction."""
    with host.app.app_context():
        send("gone")
        with host.session.begin_nested():
            assert call_back(host.session, "gone")
        assert waiting(host.session) == []
        host.session.commit()
    assert host.subjects() == []


@pytest.mark.parametrize("ending", ["rollback", "failed commit", "close"])
def test_a_fact_called_back_stands_where_the_calling_back_is_lost(host, ending):
    """A merge that was rolled back leaves the request for it in force."""
    with host.app.app_context():
        if ending == "failed commit":
            host.add_taken()
        always("fact")
        assert call_back(host.session, "fact")
        if ending == "failed commit":
            with pytest.raises(IntegrityError):
                host.session.commit()
        (host.session.close if ending == "close" else host.session.rollback)()
        assert host.subjects() == ["fact"]


@pytest.mark.parametrize("ending", ["end of context", "commit", "close"])
def test_left_by_a_closed_session_and_then_called_back(host, ending):
    """What waits for the end of the context can be cancelled, too."""
    with host.app.app_context():
        send("gone")
        host.session.close()
        assert call_back(host.session, "gone")
        if ending != "end of context":
            getattr(host.session, ending)()
        assert waiting(host.session) == []
    assert host.subjects() == []


def test_left_by_a_closed_session_and_called_back_in_vain(host):
    """A rolled back calling back changes nothing there either."""
    with host.app.app_context():
        send("kept")
        host.session.close()
        assert call_back(host.session, "kept")
        host.session.rollback()
    assert host.subjects() == ["kept"]


def test_sent_and_called_back_in_a_session_that_is_closed(host, caplog):
    """Nothing is left of either, and the log does not call it a loss."""
    with host.app.app_context():
        send("gone")
        assert call_back(host.session, "gone")
        host.session.close()
    assert host.subjects() == []
    assert "notification" not in caplog.text


def test_called_back_after_a_failed_flush(host):
    """There is no transaction that could take it back again."""
    with host.app.app_context():
        host.add_taken()
        with pytest.raises(IntegrityError):
            host.session.flush()
        send("gone")
        assert call_back(host.session, "gone")
        assert waiting(host.session) == []
    assert host.subjects() == []
