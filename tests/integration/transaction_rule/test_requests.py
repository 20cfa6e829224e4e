"""What is left when a request ends: well, denied, broken, or as a stream."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from unittest import mock

import pytest
import sqlalchemy as sa
from flask import Flask, Response, abort, after_this_request, got_request_exception
from flask import stream_with_context as streamed
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from tests.transactions import SHARED, always, on, send

# -- requests ----------------------------------------------------------------------------


@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("flushed", [False, True])
def test_an_aborted_request_stores(make_host, ours_first, flushed):
    """403 without a commit: stored at the end of the request, in either order of init_app."""
    host = make_host(ours_first=ours_first, timeout=0.3)

    @host.view()
    def view():
        host.add()
        if flushed:
            host.session.flush()
        send("one")
        abort(403)

    assert host.client.get("/").status_code == 403
    assert host.subjects() == ["one"]
    assert host.things() == []


def test_stored_before_the_response_leaves(host):
    """Who has seen the page can rely on the row."""

    @host.view()
    def view():
        send("one")
        abort(403)

    host.app.wsgi_app(EnvironBuilder("/").get_environ(), mock.Mock())  # not one byte was read
    assert host.subjects() == ["one"]


@on("wal", "delete")
def test_a_reader_at_the_end_of_the_request_is_no_obstacle(make_host):
    """The request's own read transaction is over before the message is written."""
    host = make_host(timeout=0.3)

    @host.view()
    def view():
        host.session.execute(sa.select(host.Thing)).all()
        send("one")
        return "ok"

    host.client.get("/")
    assert host.subjects() == ["one"]


@on(*SHARED)
def test_one_connection_is_enough(make_host):
    """A pool of one: the request's connection is back before ours is asked for."""
    host = make_host(engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 1})

    @host.view()
    def view():
        host.add()
        host.session.flush()
        send("joined")
        always("always")
        abort(403)

    host.client.get("/")
    assert host.subjects() == ["always", "joined"]


def test_an_abort_inside_with_begin_rolls_back(host):
    """The block's rollback takes what joined it; a stated fact stays."""

    @host.view()
    def view():
        with host.session.begin():
            send("joined")
            always("always")
            abort(403)

    assert host.client.get("/").status_code == 403
    assert host.subjects() == ["always"]


def test_an_error_handler_that_rolls_back(host):
    """A frequent host: every HTTP error rolls the session back."""

    @host.app.errorhandler(HTTPException)
    def handler(error):
        host.session.rollback()
        return error

    @host.view()
    def view():
        send("joined")
        always("always")
        abort(403)

    assert host.client.get("/").status_code == 403
    assert host.subjects() == ["always"]


@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("place", [None, 0, 1])
def test_a_host_that_commits_in_a_teardown_function(make_host, ours_first, place):
    """Commit-on-teardown counts, wherever the function stands among the others."""
    host = make_host(ours_first=ours_first)

    def commit(error):
        if error is None:
            host.session.commit()

    functions = host.app.teardown_appcontext_funcs
    functions.insert(len(functions) if place is None else place, commit)

    @host.view()
    def view():
        send("one")
        host.add()
        return "ok"

    host.client.get("/")
    assert host.subjects() == ["one"]
    assert host.things() == ([] if place == 0 else ["t"])  # at 0 it comes after Flask-SQLAlchemy's


@pytest.mark.parametrize("last", [False, True])
def test_a_teardown_function_may_send(make_host, last):
    """Even the last one, which runs when the session is gone."""
    host = make_host()

    def teardown(error):
        send("one")

    host.app.teardown_appcontext_funcs.insert(0 if last else 1, teardown)
    host.view()(lambda: "ok")
    host.client.get("/")
    assert host.subjects() == ["one"]


def test_every_stage_of_a_request_may_send(host):
    """Before, in, and after the view; a commit stores what came before it."""

    @host.app.before_request
    def before():
        send("before")

    @host.app.after_request
    def after(response):
        send("after")
        host.session.commit()
        return response

    @host.app.teardown_request
    def teardown(error):
        send("teardown")

    @host.view()
    def view():
        @after_this_request
        def after_this(response):
            send("after this")
            return response

        send("view")
        abort(403)

    host.client.get("/")
    assert host.subjects() == ["after", "after this", "before", "teardown", "view"]


def test_sent_after_the_hosts_commit(host):
    """The natural place of a "completed": after the commit, with no later one."""

    @host.view()
    def view():
        host.add()
        host.session.commit()
        send("completed")
        return "ok"

    host.client.get("/")
    assert host.subjects() == ["completed"]
    assert host.things() == ["t"]


# -- requests that fail --------------------------------------------------------------------


@pytest.mark.parametrize("testing", [False, True])
def test_an_unhandled_exception_in_a_view(make_host, testing, caplog):
    """What joined goes with the host's work, a stated fact stays."""
    host = make_host(testing=testing)

    @host.view()
    def view():
        send("joined")
        always("always")
        raise KeyError

    if testing:
        with pytest.raises(KeyError):
            host.client.get("/")
    else:
        assert host.client.get("/").status_code == 500
    assert host.subjects() == ["always"]
    assert "notification.dropped" in caplog.text


@pytest.mark.parametrize("handled", [500, Exception])
def test_an_error_page_is_a_failure(host, handled, caplog):
    """A handler of the host answers with 500: Flask tells teardown functions of no exception."""

    @host.app.errorhandler(handled)
    def handler(error):
        return "sorry", 500

    @host.view()
    def view():
        host.add()
        host.session.flush()
        send("joined")
        always("always")
        raise KeyError

    assert host.client.get("/").data == b"sorry"
    assert host.subjects() == ["always"]
    assert host.things() == []
    assert "notification.dropped" in caplog.text


def test_an_abort_with_503_is_a_failure(host, caplog):
    """Any response of the 5xx class drops what joined."""

    @host.view()
    def view():
        send("joined")
        always("always")
        abort(503)

    assert host.client.get("/").status_code == 503
    assert host.subjects() == ["always"]
    assert "503 SERVICE UNAVAILABLE" in caplog.text


def test_a_handled_exception_with_another_answer_is_none(host):
    """An exception that the host turned into a 409 is part of its plan."""

    @host.app.errorhandler(KeyError)
    def handler(error):
        return "conflict", 409

    @host.view()
    def view():
        send("one")
        raise KeyError

    assert host.client.get("/").status_code == 409
    assert host.subjects() == ["one"]


def test_committed_before_the_failure_is_stored(host):
    """What a commit has stored, no later failure takes back."""

    @host.view()
    def view():
        send("one")
        host.session.commit()
        abort(500)

    host.client.get("/")
    assert host.subjects() == ["one"]


def test_an_outer_context_of_a_test_suite(host):
    """Up to Flask 3.1 a request inside an app context shares it, and its end."""

    @host.view()
    def view():
        send("one")
        abort(403)

    with host.app.app_context():
        host.client.get("/")
    assert host.subjects() == ["one"]


@pytest.mark.parametrize("testing", [False, True])
def test_one_requests_failure_is_not_the_next_ones(make_host, testing, caplog):
    """Requests that share an app context: the failed one drops its own messages only."""
    host = make_host(testing=testing)

    @host.view("/fails")
    def fails():
        send("gone")
        raise KeyError

    @host.view("/denied")
    def denied():
        send("kept")
        abort(403)

    with host.app.app_context():
        if testing:
            with pytest.raises(KeyError):
                host.client.get("/fails")
        else:
            host.client.get("/fails")
        host.session.remove()
        host.client.get("/denied")
    assert host.subjects() == ["kept"]
    assert caplog.text.count("notification.dropped") == 1


def test_a_client_that_keeps_the_context(host):
    """``with client:`` keeps the request's context open until its end."""

    @host.view()
    def view():
        send("one")
        abort(403)

    with host.client:
        host.client.get("/")
    assert host.subjects() == ["one"]


def test_a_test_request_context(host):
    """A pushed request context stores at its end, or with a commit in it."""
    with host.app.test_request_context("/"):
        send("one")
    with host.app.test_request_context("/"):
        send("two")
        host.session.commit()
    assert host.subjects() == ["one", "two"]


# -- what reports on a failure -------------------------------------------------------------


def _fails(host, code=500):
    """A view that has sent, and written, when it fails."""

    @host.view()
    def view():
        host.add()
        host.session.flush()
        send("view")
        if code == 500:
            raise KeyError
        abort(code)


@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("handled", [500, Exception, KeyError])
def test_what_an_error_handler_sends_is_stored(make_host, handled, ours_first, sent, caplog):
    """The report leaves; what the failed view had sent is dropped by name."""
    host = make_host(ours_first=ours_first)

    @host.app.errorhandler(handled)
    def handler(error):
        send("report", to=("ops@x.example",))
        return "sorry", 500

    if sent:
        _fails(host)
    else:
        host.view()(lambda: {}["nothing sent"])
    assert host.client.get("/").data == b"sorry"
    assert host.subjects() == ["report"]
    assert host.things() == []
    assert ("'view' to a@x.example, b@x.example" in caplog.text) is sent
    assert "ops@" not in caplog.text


@pytest.mark.parametrize("handled", [503, HTTPException])
def test_what_the_handler_of_an_abort_sends_is_stored(host, handled, caplog):
    """``abort(503)`` drops what the view called, and keeps the handler's."""

    @host.app.errorhandler(handled)
    def handler(error):
        send("report")
        return error

    _fails(host, 503)
    assert host.client.get("/").status_code == 503
    assert host.subjects() == ["report"]
    assert "'view' to" in caplog.text


@on("memory", "wal")
@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_what_hears_of_the_exception_may_send(make_host, testing, answers, caplog):
    """A receiver of the signal, and of Flask's own log record, in whatever order they come."""
    host = make_host(testing=testing)

    class Mailing(logging.Handler):
        def emit(self, record):
            send("log")

    receivers = [lambda _app, n=n, **_: send(f"signal {n}") for n in range(8)]
    for receiver in receivers:  # some of them come before ours
        got_request_exception.connect(receiver, host.app)
    host.app.logger.addHandler(handler := Mailing())
    if answers:  # with nothing, which Flask finds out when the view is done
        host.view()(lambda: send("view") and None)
    else:
        _fails(host)
    if testing:
        with pytest.raises(TypeError if answers else KeyError):
            host.client.get("/")
    else:
        host.client.get("/")
    host.app.logger.removeHandler(handler)
    assert host.subjects() == [*([] if testing else ["log"]), *(f"signal {n}" for n in range(8))]
    assert "'view' to" in caplog.text


@on("memory")
def test_an_application_class_that_reports_by_itself(make_host, monkeypatch):
    """Its ``handle_exception`` sends before Flask's signal; the view has no answer."""
    plain = Flask.handle_exception

    def handle(self, error):
        send("report")
        return plain(self, error)

    monkeypatch.setattr(Flask, "handle_exception", handle)
    host = make_host()
    host.view()(lambda: send("view") and None)
    host.client.get("/")
    assert host.subjects() == ["report"]


@on("memory")
def test_an_extension_that_handles_exceptions_itself(host):
    """It replaces Flask's method and sends its signal: that is heard as well."""

    def handle(error):
        got_request_exception.send(host.app, exception=error)
        send("report")
        return host.app.finalize_request(("sorry", 500), from_error_handler=True)

    host.app.handle_exception = handle
    _fails(host)
    assert host.client.get("/").data == b"sorry"
    assert host.subjects() == ["report"]


@pytest.mark.parametrize("raises", [False, True])
def test_a_view_that_answers_503_drops_its_own(host, raises, caplog):
    """Its own ``except`` block belongs to it; what comes after the view reports on it."""

    @host.app.after_request
    def after(response):
        send("after")
        return response

    @host.app.teardown_request
    def teardown(error):
        send("teardown")

    @host.view()
    def view():
        @after_this_request
        def after_this(response):
            send("after this")
            return response

        try:
            send("view")
            raise KeyError
        except KeyError:
            send("except")
            host.app.logger.exception("caught")
        if raises:
            raise ValueError
        return "busy", 503

    host.client.get("/")
    assert host.subjects() == ["after", "after this", "teardown"]
    assert "'view' to" in caplog.text
    assert "'except' to" in caplog.text


def test_a_handler_that_fails_has_still_reported(host):
    """Whatever the second exception is about, the first is worth a mail."""

    @host.app.errorhandler(KeyError)
    def handler(error):
        send("report")
        raise ZeroDivisionError

    _fails(host)
    assert host.client.get("/").status_code == 500
    assert host.subjects() == ["report"]


def test_a_report_that_the_handler_rolls_back_is_gone(host):
    """It belongs to the session's transaction as ever: first roll back, then send."""

    @host.app.errorhandler(KeyError)
    def handler(error):
        send("gone")
        host.session.rollback()
        send("kept")
        return "sorry", 500

    _fails(host)
    host.client.get("/")
    assert host.subjects() == ["kept"]


@on("postgresql", "mariadb", "wal")
def test_a_report_where_a_statement_failed(host):
    """The session seems usable, but PostgreSQL takes no further statement in its transaction."""

    @host.app.errorhandler(sa.exc.DBAPIError)
    def handler(error):
        host.database.tables_seen = False
        send("report")
        return "sorry", 500

    @host.view()
    def view():
        host.session.execute(sa.text("SELECT nothing FROM nowhere"))

    assert host.client.get("/").data == b"sorry"
    assert host.subjects() == ["report"]


@on("memory")
def test_reports_of_requests_within_each_other(host):
    """A view that calls another one of its application: each has its own failure."""

    @host.app.errorhandler(KeyError)
    def handler(error):
        send("report")
        return "sorry", 500

    @host.view("/inner")
    def inner():
        send("inner")
        raise KeyError

    @host.view()
    def view():
        send("outer before")
        host.app.test_client().get("/inner")
        send("outer after")
        return "ok"

    host.client.get("/")
    assert host.subjects() == ["outer after", "outer before", "report"]


@on("memory")
def test_a_context_that_fails_keeps_what_its_teardown_reports(host, caplog):
    """Without a request: what the work sent is dropped, what a teardown function tells is not."""
    host.app.teardown_appcontext(lambda error: send(f"report {type(error).__name__}"))

    def work():
        with host.app.app_context():
            send("work")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert host.subjects() == ["report KeyError"]
    assert "'work' to" in caplog.text


# -- streams -----------------------------------------------------------------------------


def test_a_stream_stores_at_its_end(host):
    """The context of a streamed response ends with the stream."""

    @host.view()
    def view():
        send("before")

        def parts() -> Iterator[str]:
            yield "a"
            send("during")
            yield "b"

        return Response(streamed(parts()))

    response = host.client.get("/")
    assert response.data == b"ab"
    response.close()
    assert host.subjects() == ["before", "during"]


def test_a_reader_who_leaves_is_no_failure(host):
    """A closed connection ends the stream, not the message."""

    @host.view()
    def view():
        def parts() -> Iterator[str]:
            send("one")
            yield "a"
            yield "b"

        return Response(streamed(parts()))

    response = host.client.get("/", buffered=False)
    next(iter(response.response))
    response.close()
    assert host.subjects() == ["one"]


def test_a_stream_that_fails_drops(host, caplog):
    """An exception in the generator is an unhandled one."""

    @host.view()
    def view():
        def parts() -> Iterator[str]:
            yield "a"
            send("gone")
            raise KeyError

        return Response(streamed(parts()))

    with pytest.raises(KeyError):
        host.client.get("/").get_data()
    assert host.subjects() == []
    assert "notification.dropped" in caplog.text
