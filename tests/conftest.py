"""What holds for every test: on a build machine a skipped test is a failed one."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

BUILD_MACHINE = os.environ.get("CI", "").lower() in ("1", "true", "yes")
HOW_TO = "`.ci/run` installs and starts every server that the tests use (Debian, as root)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure on a build machine, unless it is marked ``allowed_skip``."""
    report = yield
    if item.get_closest_marker("allowed_skip") is None and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself while it is imported."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how to get the servers whose tests were skipped."""
    skipped = len(terminalreporter.stats.get("skipped", ()))
    if skipped:
        terminalreporter.write_line(f"{skipped} skipped for want of a server: {HOW_TO}.")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if BUILD_MACHINE and report.skipped:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure where CI is set: {reason}"
