"""Threads, coroutines, commands, tasks, and the views of Flask-Admin."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from importlib.metadata import version

import click
import pytest
from flask import abort, copy_current_request_context
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView

from tests.transactions import SHARED, in_threads, on, send


@pytest.mark.allowed_skip("Flask's extra for coroutines")
def test_a_coroutine_as_view(host):
    """An async view has the request's context, and so its end."""
    pytest.importorskip("asgiref")

    @host.view("/denied")
    async def denied():
        send("denied")
        abort(403)

    @host.view("/committed")
    async def committed():
        host.add()
        send("committed")
        host.session.commit()
        return "ok"

    host.client.get("/denied")
    host.client.get("/committed")
    assert host.subjects() == ["committed", "denied"]
    assert host.things() == ["t"]


@on(*SHARED)
def test_threads_do_not_meet(host):
    """Thirty threads, each with a context of its own and an ending of its own."""

    def work(number):
        with host.app.app_context():
            send(f"{number}")
            (host.session.commit, host.session.rollback, host.session.close)[number % 3]()

    in_threads(*(lambda number=number: work(number) for number in range(30)))
    assert host.subjects() == sorted(f"{number}" for number in range(30) if number % 3 != 1)


@on(*SHARED)
def test_a_thread_with_a_copy_of_the_request_context(host):
    """The copy has an app context of its own, which ends by itself."""

    @host.view()
    def view():
        in_threads(copy_current_request_context(lambda: send("background")))
        send("view")
        abort(403)

    host.client.get("/")
    assert host.subjects() == ["background", "view"]


def test_without_a_context_there_is_no_sending(host):
    """Flask's own error, as with everything that needs an app."""
    caught = []

    def work():
        try:
            send("one")
        except RuntimeError as error:
            caught.append(str(error))

    threading.Thread(target=work).run()
    assert "application context" in caught[0]


_CLICK = tuple(map(int, version("click").split(".")[:2]))


@on("memory", "wal")
def test_commands(host):
    """A command's own way out decides: only a real failure drops."""

    def command(name, ending):
        @host.app.cli.command(name)
        def run():
            send(name)
            ending()

    def raising(error):
        raise error

    command("returns", lambda: None)
    command("exits", lambda: raising(SystemExit(1)))
    command("exits-by-click", lambda: click.get_current_context().exit(3))
    command("aborts", lambda: raising(click.Abort()))
    command("fails", lambda: raising(KeyError()))
    command("misused", lambda: raising(click.ClickException("no")))
    runner = host.app.test_cli_runner()
    for name in ("returns", "exits", "exits-by-click", "aborts", "fails", "misused"):
        runner.invoke(args=[name])
    ended_well = ["aborts", "exits", "exits-by-click", "returns"]
    if _CLICK < (8, 2):  # it ends the app context without telling of the exception
        assert set(ended_well) <= set(host.subjects())
    else:
        assert host.subjects() == ended_well


def test_flask_admins_own_views(host):
    """Flask-Admin commits and rolls back ``db.session``; its hooks may send."""

    class View(ModelView):
        form_columns = ("name",)

        def on_model_change(self, form, model, is_created):
            send(f"changing {model.name}")

        def after_model_change(self, form, model, is_created):
            send(f"changed {model.name}")

    admin = Admin(host.app, name="admin")
    admin.add_view(View(host.Thing, host.db, name="Things", endpoint="things", url="/things"))
    assert host.client.post("/things/new/", data={"name": "t"}).status_code == 302
    host.client.post("/things/new/", data={"name": "t"})  # refused by the unique constraint
    assert host.subjects() == ["changed t", "changing t"]
    assert host.things() == ["t"]


@contextmanager
def celery_of(host, *, eager):
    """A Celery app whose tasks run in app contexts of ``host``."""
    celery = pytest.importorskip("celery")

    class ContextTask(celery.Task):
        def __call__(self, *args, **kwargs):
            with host.app.app_context():
                return self.run(*args, **kwargs)

    app = celery.Celery("host", task_cls=ContextTask, broker="memory://", backend="cache+memory://")
    app.conf.update(task_always_eager=eager, worker_hijack_root_logger=False)
    yield app
    app.close()


@pytest.mark.allowed_skip("Celery is an extra")
@pytest.mark.parametrize("kind", ["memory", "wal"], indirect=True)
def test_celery_tasks(host):
    """Each task is a context: a failed try drops its message, the last one stores it."""
    tries = []
    with celery_of(host, eager=True) as celery:

        @celery.task(shared=False)
        def no_commit():
            send("no commit")

        @celery.task(shared=False)
        def commit():
            host.add()
            send("commit")
            host.session.commit()

        @celery.task(shared=False)
        def fails():
            send("fails")
            raise KeyError

        @celery.task(shared=False, bind=True, max_retries=2)
        def retried(self):
            tries.append(1)
            send(f"try {len(tries)}")
            if len(tries) < 3:
                raise self.retry(countdown=0)

        @host.view()
        def view():
            for task in (no_commit, commit, fails, retried):
                task.apply_async()
            send("view")
            abort(403)

        host.client.get("/")
    assert host.subjects() == ["commit", "no commit", "try 3", "view"]


@pytest.mark.allowed_skip("Celery is an extra")
@on("wal", "postgresql")
def test_celery_tasks_in_a_worker(host):
    """The same in a worker's threads, beside each other."""
    with celery_of(host, eager=False) as celery:
        from celery.contrib.testing.worker import start_worker

        @celery.task(shared=False)
        def no_commit():
            send("no commit")

        @celery.task(shared=False)
        def commit():
            host.add()
            send("commit")
            host.session.commit()

        @celery.task(shared=False)
        def fails():
            send("fails")
            raise KeyError

        with start_worker(celery, pool="threads", perform_ping_check=False, loglevel="ERROR"):
            results = [task.apply_async() for task in (no_commit, commit, fails)]
            for result in results:
                result.get(timeout=60, propagate=False)
    assert host.subjects() == ["commit", "no commit"]
