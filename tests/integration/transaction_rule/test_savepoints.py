"""What savepoints carry: released, rolled back, nested, left open."""

# ruff: noqa: PT012 - which block ends with an exception is what these tests are about

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from tests.transactions import send


def test_a_released_savepoint_passes_on_what_it_carries(host):
    """A release alone stores nothing; the outermost commit does."""
    with host.app.app_context():
        with host.session.begin_nested():
            host.add()
            send("inside")
        assert host.subjects() == []
        send("outside")
        host.session.commit()
    assert host.subjects() == ["inside", "outside"]


def test_a_released_savepoint_goes_with_the_outer_rollback(host):
    """What a released savepoint carried is the outer transaction's to lose."""
    with host.app.app_context():
        with host.session.begin_nested():
            send("inside")
        host.session.rollback()
    assert host.subjects() == []


def test_an_exception_in_a_savepoint_takes_only_its_own(host):
    """What was sent inside goes with the savepoint, before and after it stay."""
    with host.app.app_context():
        send("before")
        with pytest.raises(KeyError), host.session.begin_nested():
            host.add()
            send("inside")
            raise KeyError
        send("after")
        host.session.commit()
    assert host.subjects() == ["after", "before"]


def test_savepoints_within_savepoints(host):
    """Each level decides for itself and for what is below it."""
    with host.app.app_context():
        session = host.session
        a = session.begin_nested()
        send("a")
        b = session.begin_nested()
        send("b")
        b.commit()
        c = session.begin_nested()
        send("c")
        c.rollback()
        a.commit()
        d = session.begin_nested()
        send("d")
        e = session.begin_nested()
        send("e")
        e.commit()
        d.rollback()
        session.commit()
    assert host.subjects() == ["a", "b"]


def test_an_outer_savepoint_takes_an_open_inner_one_along(host):
    """Rolling back to the outer savepoint ends the inner one, too."""
    with host.app.app_context():
        session = host.session
        send("root")
        outer = session.begin_nested()
        send("outer")
        session.begin_nested()
        send("inner")
        outer.rollback()
        session.commit()
    assert host.subjects() == ["root"]


def test_a_rollback_of_the_session_ends_its_savepoints(host):
    """``session.rollback()`` inside a savepoint rolls everything back."""
    with host.app.app_context():
        session = host.session
        send("root")
        session.begin_nested()
        send("inside")
        session.rollback()
        send("later")
        session.commit()
    assert host.subjects() == ["later"]


@pytest.mark.parametrize("ending", ["commit", "with", "close"])
def test_an_open_savepoint_at_the_end(host, ending):
    """A commit, a ``with`` block and a close carry an open savepoint's messages along."""
    with host.app.app_context():
        session = host.session
        if ending == "with":
            with session.begin():
                send("root")
                session.begin_nested()
                send("inside")
            assert host.subjects() == ["inside", "root"]
        else:
            send("root")
            session.begin_nested()
            send("inside")
            getattr(session, ending)()
    assert host.subjects() == ["inside", "root"]


def test_a_failed_flush_in_a_savepoint_takes_only_its_own(host):
    """The usual "insert or ignore" with a savepoint loses nothing of the outer transaction."""
    with host.app.app_context():
        host.add("taken")
        host.session.flush()
        send("before")
        with pytest.raises(IntegrityError), host.session.begin_nested():
            send("inside")
            host.add("taken")
            host.session.flush()
        host.session.commit()
    assert host.subjects() == ["before"]
    assert host.things() == ["taken"]
