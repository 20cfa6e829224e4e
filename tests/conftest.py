"""What holds for every test: no password comes out, and a build machine skips nothing."""

from __future__ import annotations

import gc
import gettext
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings

from flask_interaction_mail.transport.smtp.tls import context_for
from tests import proofs
from tests.canary import Watch
from tests.catcher import Catcher, catching
from tests.crash import accounts
from tests.crash.commands import Commands, commands
from tests.databases import DIALECTS, fresh_database, keeping, left_out
from tests.host import Host, opened
from tests.length import LONG
from tests.routes import share_builders
from tests.servers.certificates import pki
from tests.templates import Compiled

BUILD_MACHINE = os.environ.get("CI", "").lower() in ("1", "true", "yes")
HOW_TO = "`.ci/run` installs and starts every server that the tests use (Debian, as root)"


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if the SMTP password comes out of it: see ``tests/canary.py`` (T11).

    It is the first fixture of a test and so the last to end, when databases are closed.
    """
    watch = Watch()
    with watch.everywhere():
        yield
    if folder := request.node.funcargs.get("tmp_path"):
        watch.files(folder)
    assert not watch.found, "\n".join(watch.found)


@pytest.fixture(scope="session", autouse=True)
def kept_databases() -> Iterator[None]:
    """Databases that tests have left are emptied for others, and dropped at the end."""
    with keeping():
        yield


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """A server that takes mail and keeps it."""
    with catching() as catcher:
        yield catcher


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A host whose mail is set up, in SQLite; the catcher gets it where the test has one."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(**_caught(request))
        yield host


@pytest.fixture(params=DIALECTS)
def any_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """The same in each kind of database."""
    with fresh_database(request.param, tmp_path) as url, opened(url) as host:
        host.configure(**_caught(request))
        yield host


def _caught(request: pytest.FixtureRequest) -> dict[str, int]:
    if "catcher" not in request.fixturenames:
        return {}
    catcher: Catcher = request.getfixturevalue("catcher")
    return {"smtp_port": catcher.port}


@pytest.fixture(scope="session")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Gives commands of ``flask`` to processes that are forked: they start without imports."""
    with commands(tmp_path_factory.mktemp("streams"), "flask_migrate", "flask_admin") as terminal:
        yield terminal


@pytest.fixture
def brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's language has each of our texts in brackets: ⟦Sent⟧."""

    def one(_: object, text: str) -> str:
        return f"⟦{text}⟧"

    def several(_: object, one: str, many: str, count: int) -> str:
        return f"⟦{one if count == 1 else many}⟧"

    monkeypatch.setattr(gettext.NullTranslations, "gettext", one)
    monkeypatch.setattr(gettext.NullTranslations, "ngettext", several)


@pytest.fixture
def trusted_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine trust our CA, so that no certificate keeps a secret from leaving."""
    bundle = tmp_path / "trusted.pem"
    bundle.write_text(pki().pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    context_for.cache_clear()
    yield
    context_for.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look for the password in what was printed; turn a skip into a failure on a build machine.

    A test that is marked ``allowed_skip`` may be skipped there, too.
    """
    report = yield
    if report.when == "teardown" and report.passed:
        _refuse_password(report)
    if item.get_closest_marker("allowed_skip") is None and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    if report.passed and hasattr(item.config, "workerinput"):
        report.sections = []  # nobody is shown them, and each would be sent to another process
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself while it is imported."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_configure() -> None:
    """Share what applications compile, and give examples time."""
    Flask.jinja_options = {"bytecode_cache": Compiled()}
    share_builders()
    # How long an example takes says how busy the machine is.
    unhurried = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    examples = 100 if LONG else 25
    settings.register_profile("unhurried", settings(), max_examples=examples, **unhurried)
    settings.load_profile("unhurried")


@pytest.hookimpl(trylast=True)  # of those that were asked for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the long form what is marked so, and some kinds of database."""
    if LONG:
        return
    out = {*left_out(items), *(item for item in items if item.get_closest_marker("long"))}
    config.hook.pytest_deselected(items=[*out])
    items[:] = [item for item in items if item not in out]


def pytest_collection_finish() -> None:
    """Leave modules and tests out of every later look for garbage: they stay until the end.

    Looking less often saves an eighth of the processor time: each test makes an application.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was counted to the process that prints it, where several run the tests."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["proofs"] = proofs.told()
        output["accounts"] = [one.figures() for one in accounts.REPORT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what another process has counted; one that died has nothing."""
    output = getattr(node, "workeroutput", {})
    for proof in output.get("proofs", ()):
        proofs.proved(*proof)
    accounts.REPORT.extend(accounts.Account(**one) for one in output.get("accounts", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the tests of security came to, and how to get the servers that were missing."""
    for line in proofs.lines():
        terminalreporter.write_line(line)
    skipped = len(terminalreporter.stats.get("skipped", ()))
    if skipped:
        terminalreporter.write_line(f"{skipped} skipped for want of a server: {HOW_TO}.")


def _refuse_password(report: pytest.TestReport) -> None:
    watch = Watch()
    watch.output(report.sections)
    if watch.found:
        report.outcome = "failed"
        report.longrepr = "\n".join(watch.found)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if BUILD_MACHINE and report.skipped:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure where CI is set: {reason}"
