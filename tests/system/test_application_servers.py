"""Delivery in the processes of real application servers: how it begins, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import send_notification
from flask_interaction_mail.contrib.wakeups import CeleryDelivery
from flask_interaction_mail.outbox import presence
from tests.catcher import Catcher
from tests.databases import fresh_database
from tests.documentation import shown
from tests.host import Host, opened
from tests.servers.programs import free_port, program, wait_for_port
from tests.servers.scripted import until
from tests.terminal import Said, run

ROOT = Path(__file__).parents[2]
APP = "tests.servers.web:app"
PATIENCE = 120  # s for a server to start; some listen before they have loaded the application


# The host's mail goes there. The host is a process with the same database that delivers nothing.
pytestmark = pytest.mark.usefixtures("catcher")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/host.sqlite"


def statuses(host: Host) -> list[str]:
    return sorted(row.status for row in host.rows())


def environment(url: str, **others: str) -> dict[str, str]:
    # Without coverage, which would answer SIGTERM in place of the server.
    usual = {name: value for name, value in os.environ.items() if "COV" not in name}
    return {**usual, "DATABASE": url, "PYTHONPATH": str(ROOT), **others}


def ran(url: str, code: str) -> Said:
    """A process that has the application and runs ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.servers.web import app, host, messaging\n{code}"],
        cwd=ROOT,
        env=environment(url),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def serving(line: list[str], url: str, folder: Path, **others: str) -> Iterator[Server]:
    """An application server for as long as this lasts; ``{port}`` in ``line`` is its port."""
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in line]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(url, **others), stdout=log, stderr=log
        )
        try:
            wait_for_port(port, PATIENCE)
            yield Server(process, port, folder / "server.log")
        finally:
            process.kill()
            process.wait(20)


class Server:
    """It, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self._port, self._log = process, port, log

    def get(self, path: str) -> str:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._port}{path}", timeout=PATIENCE
        ) as page:
            return str(page.read(), "utf-8")

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8")


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


GUNICORN = python("gunicorn", "--bind", "127.0.0.1:{port}")
WAITRESS = python("waitress", "--listen", "127.0.0.1:{port}", APP)

# -- a process's own end ----------------------------------------------------------------

SEND = """
from flask_interaction_mail import send_notification
with app.app_context():
    for number in range(3):
        send_notification(f"p{number}", "Hello", text="Hello")
    host.db.session.commit()
"""
# What Python does from 3.12 on as soon as a process ends; here in any version.
NO_THREADS_AT_THE_END = """
import atexit, threading
def refuse(*_, **__):
    raise RuntimeError("can't create new thread at interpreter shutdown")
atexit.register(lambda: setattr(threading, "_start_new_thread", refuse))
"""


@pytest.mark.parametrize("more", ["", NO_THREADS_AT_THE_END], ids=["as it is", "no threads then"])
def test_what_a_process_has_committed_leaves_before_its_end(
    host: Host, url: str, catcher: Catcher, more: str
) -> None:
    """Though nobody waits for it: the process ends with the next line."""
    catcher.delay = 0.2
    assert ran(url, SEND + more).status == 0
    assert len(catcher.mails) == 3
    assert statuses(host) == ["sent"] * 3


def test_the_end_of_a_process_does_not_wait_for_a_silent_server(
    host: Host, url: str, catcher: Catcher
) -> None:
    """After five seconds at most it goes; nothing stays claimed."""
    catcher.delay = 30
    end = "import atexit, time\natexit.register(lambda: print(time.time() - began))\n"
    said = ran(url, f"{end}{SEND}began = time.time()")
    assert float(said.out) < 6
    assert "sending" not in statuses(host)


def test_a_process_that_has_committed_nothing_delivers_nothing(
    host: Host, url: str, catcher: Catcher
) -> None:
    """A shell, a migration, a bare fork: what others have left is not theirs to deliver."""
    left_behind(host, url)
    ran(url, "import os\nif (pid := os.fork()):\n    os.waitpid(pid, 0)\n")
    assert catcher.mails == []
    assert statuses(host) == ["queued"]


def test_a_child_of_multiprocessing_delivers_before_its_end(
    host: Host, url: str, catcher: Catcher
) -> None:
    """It ends without atexit, as the workers of some servers do."""
    code = "import multiprocessing\ndef work():\n" + "".join(
        f"    {line}\n" for line in SEND.splitlines()
    )
    code += "child = multiprocessing.get_context('fork').Process(target=work)\n"
    ran(url, f"{code}child.start()\nchild.join()")
    assert statuses(host) == ["sent"] * 3


# -- real servers -----------------------------------------------------------------------


@pytest.mark.parametrize("server", ["gunicorn", "uWSGI"])
def test_the_mail_of_a_workers_last_request_is_delivered(
    server: str, host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """With --max-requests 1 each request is one; no further request is needed."""
    once = ["--max-requests", "1"]
    line = [*GUNICORN, *once, APP] if server == "gunicorn" else uwsgi("--enable-threads", *once)
    with serving(line, url, tmp_path) as served:
        for _ in range(2):
            assert served.get("/send") == "sent"
        catcher.wait_for(2, PATIENCE)


def test_gunicorn_begins_before_the_first_request(
    host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """Where its hook calls start(), which may be called again."""
    hook = tmp_path / "gunicorn.conf.py"
    lines = shown("docs/operations.md", "post_worker_init").replace("crm.wsgi", "tests.servers.web")
    hook.write_text(f"{lines}    messaging.start(app)\n")
    left_behind(host, url)
    with serving([*GUNICORN, "--config", str(hook), APP], url, tmp_path):
        catcher.wait_for(1, PATIENCE)
        assert until(lambda: [one["server"] for one in at_work(url)] == ["gunicorn"])


GRANIAN = python("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", APP)
UVICORN = python("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "tests.servers.asgi:app")
HYPERCORN = python("hypercorn", "--bind", "127.0.0.1:{port}", f"wsgi:{APP}")


@pytest.mark.parametrize(
    "line",
    [
        [*GUNICORN, "--worker-class", "gevent", APP],
        [*GUNICORN, "--preload", "--workers", "2", "--worker-class", "gthread", APP],
        GRANIAN,
        UVICORN,
        HYPERCORN,
    ],
    ids=["gunicorn gevent", "gunicorn preload", "granian", "uvicorn", "hypercorn"],
)
def test_a_server_delivers_and_leaves_nothing_claimed_when_it_is_stopped(
    host: Host, url: str, catcher: Catcher, tmp_path: Path, line: list[str]
) -> None:
    """What was accepted is sent, once, and the rest is free for the next process at once."""
    with serving(line, url, tmp_path, MORE=shown("docs/operations.md", "SIGTERM")) as server:
        server.get("/send")
        catcher.wait_for(1, PATIENCE)
        catcher.delay = 0.5
        server.get("/send?n=100")
        catcher.wait_for(3, PATIENCE)
        server.terminate()
    left = statuses(host)
    assert set(left) == {"sent", "queued"}, server.said
    assert left.count("sent") == len(catcher.mails)


def left_behind(host: Host, url: str) -> None:
    """Mail that an earlier process has not delivered."""
    with opened(url) as earlier, earlier.app.app_context():
        send_notification("bob", "Hello", text="Hello")
        earlier.db.session.commit()
    assert statuses(host) == ["queued"]


def told(url: str, *command: str) -> Said:
    """What an operator of the served application is told."""
    with opened(url, INTERACTION_MAIL_DELIVERY="thread") as host:
        return run(host, *command)


def at_work(url: str) -> Any:
    return told(url, "status", "--json").json["at_work"]


NO_FAREWELL = "waitress lets SIGTERM end its process on the spot"


def test_waitress_that_is_ended_has_claimed_no_more_than_it_was_sending(
    host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """SIGTERM ends it on the spot: what waits is free for others, and doctor names the server."""
    catcher.delay = 1.0
    with serving(WAITRESS, url, tmp_path) as server:
        server.get("/send?n=200")
        catcher.wait_for(4, PATIENCE)
        warned = until(lambda: NO_FAREWELL in told(url, "doctor").out, 20)
        server.terminate()
    assert warned, told(url, "doctor").out
    left = statuses(host)
    assert left.count("sending") <= 8  # what four connections send within a second
    assert left.count("queued") >= 20


def test_waitress_with_the_line_of_the_docs_gives_back_what_it_had_claimed(
    host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """And finishes what is on its way."""
    catcher.delay = 0.5
    with serving(WAITRESS, url, tmp_path, MORE=shown("docs/operations.md", "SIGTERM")) as server:
        server.get("/send?n=40")
        catcher.wait_for(4, PATIENCE)
        doctor = told(url, "doctor")
        server.terminate()
        assert server.process.returncode == 0
    left = statuses(host)
    assert set(left) == {"sent", "queued"}
    assert left.count("sent") == len(catcher.mails)
    assert "application server: waitress" in doctor.out


def uwsgi(*options: str) -> list[str]:
    """The line for uWSGI; skips where it is missing or has another Python."""
    found = program("uwsgi", package="uwsgi-core and uwsgi-plugin-python3")
    version = "{}.{}".format(*sys.version_info)
    places = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    line = [found, "--plugin", "python3", "--http-socket", "127.0.0.1:{port}", "--die-on-term"]
    line += ["--module", APP, "--master", "--processes", "1", "--need-app", *options]
    plugin = subprocess.run(
        [found, "--plugin", "python3", "--python-version"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not plugin.stdout.startswith(version):
        pytest.skip(f"uWSGI has Python {plugin.stdout.strip()}, not {version}: use the system's")
    return line + [f"--pythonpath={place}" for place in places]


def test_uwsgi_without_threads_delivers_by_the_end_of_the_request(
    host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """One warning names the option; doctor has it as something to put right."""
    with serving(uwsgi(), url, tmp_path) as server:
        for number in range(1, 4):
            server.get("/send")
            assert len(catcher.mails) == number
        assert server.said.count("enable-threads = true") == 1
    said = told(url, "doctor")
    assert said.status == 1
    assert "[wrong] application server: " in said.out
    assert "enable-threads = true" in said.out


def test_uwsgi_with_threads_delivers_by_thread(
    host: Host, url: str, catcher: Catcher, tmp_path: Path
) -> None:
    """Before the first request as well; and doctor is content, whatever was told earlier."""
    with host.app.app_context():
        pulse = presence.Pulse(
            host.state.database, "old", presence.How.SYNC, server="uWSGI", trouble="no_threads"
        )
        pulse.beat()
    left_behind(host, url)
    more = shown("docs/operations.md", "post_fork_hook")
    with serving(uwsgi("--enable-threads"), url, tmp_path, MORE=more) as server:
        catcher.wait_for(1, PATIENCE)
        server.get("/send")
        catcher.wait_for(2, PATIENCE)
        assert "enable-threads = true" not in server.said
        assert "[   ok] application server: uWSGI" in told(url, "doctor").out


# -- no thread can be started -------------------------------------------------------------

NO_THREAD = """
import threading
from flask_interaction_mail.storage.tables import MESSAGE
client = app.test_client()
threading.stack_size(1 << 40)  # more than there is
for _ in range(3):
    assert client.get("/send").status_code == 200
print([row.status for row in host.rows()])
threading.stack_size(0)
{later}
"""


def test_pages_work_where_no_thread_can_be_started(host: Host, url: str, catcher: Catcher) -> None:
    """It is logged once, what was sent is queued, and delivery begins when there are threads."""
    later = "host.state.delivery._not_before = 0  # a minute passes\nclient.get('/')"
    said = ran(url, NO_THREAD.format(later=later))
    assert said.out == "['queued', 'queued', 'queued']\n"
    assert (
        said.err.count("no thread can be started") + said.err.count("can't start new thread") == 1
    )
    catcher.wait_for(3)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_delivery_holds_still_where_it_gets_no_thread(
    dialect: str, catcher: Catcher, tmp_path: Path
) -> None:
    """Nothing is claimed that nobody could carry; the command says why, and what to do."""
    with fresh_database(dialect, tmp_path) as url:
        with opened(url) as host:
            host.configure(smtp_port=catcher.port)
        with opened(url) as host:
            left_behind(host, url)
            said = ran(url, NO_THREAD_WORKER)
            assert "no thread can be started: raise the limit" in said.out
            assert statuses(host) == ["queued"]


NO_THREAD_WORKER = """
import threading
threading.stack_size(1 << 40)
print(host.dispatcher().drain())
"""


def test_with_celery_a_wake_up_without_a_thread_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody's commit fails for it: the sweep delivers."""
    delivery = CeleryDelivery(object)
    usual = threading.stack_size(1 << 40)  # more than there is
    try:
        for _ in range(3):
            delivery.wake()
    finally:
        threading.stack_size(usual)
    assert caplog.text.count("celery.no_thread: ") == 1
