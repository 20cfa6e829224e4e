"""Run the tests: ``python -m tests.check [--lint] [--cov] [arguments of pytest]``.

With ``--lint``, as ``make test`` has it, ``make lint`` runs beside all else. Where it has failed no
further part is run. First come the tests that need no server, in few processes, as each takes less
time than it takes to hand it out; meanwhile the other tests are compiled.

Most of the other tests wait most of the time, so many run side by side. Then come, a few at a time,
browsers, which keep the machine busy, and at last what kills processes and says how soon others go
on. Folders are in memory where there is room for them, and the database servers never
call fsync: a process that is killed loses nothing that it wrote (``make torture`` has both on a
disk). PostgreSQL and MariaDB are started here, unless ``TEST_POSTGRESQL_URL`` and
``TEST_MARIADB_URL`` name others. Python keeps what it has compiled, whatever
PYTHONDONTWRITEBYTECODE says, as hundreds of processes load the same modules.

``FIM_LONG=1``, as ``make long`` has it, runs each test in its long form; ``tests/databases.py`` and
the first lines of a file say what that adds.

With ``--cov``, as ``make coverage`` has it, the lines that no test ran are printed at the end; that
costs 1.7 times the processor time. With paths among the arguments only these are run:
``make system`` runs ``tests/system``, which is left out else. ``JOBS`` says how many processes
there are, by default two for each core, as each one more takes 10 s to import and collect all
tests; with 1 everything is run one by one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from tests.servers import mariadb, postgresql

ROOT = Path(__file__).parents[1]
# What runs side by side, a part after the other, and in how many processes at most.
PARTS = (
    (("tests/unit",), 2),
    (("tests/security", "tests/integration"), sys.maxsize),
    (("tests/browser",), 3),
    (("tests/crash",), 4),  # they wait most of their time, and measure how soon others go on
)

MEMORY = Path("/dev/shm")  # noqa: S108 - for a folder of our own
ROOM = 2 << 30  # bytes; the tests leave about a quarter of it behind
_KEEPING = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # what was compiled is kept


def main(arguments: Sequence[str]) -> int:
    """The worst exit status of what was run."""
    jobs = int(os.environ.get("JOBS") or 2 * (os.cpu_count() or 1))
    given = tuple(argument for argument in arguments if argument not in ("--cov", "--lint"))
    some = any(_is_path(argument) for argument in given)
    parts = (((), jobs),) if some else PARTS
    with (
        _fast_folder() as folder,
        _linting() if "--lint" in arguments else nullcontext() as linting,
        nullcontext() if some else _compiling() as compiling,
        _servers(folder) as urls,
    ):
        variables = {"TMPDIR": str(folder), **urls}
        statuses = []
        for at, (part, most) in enumerate(parts):
            if linting is not None and linting.poll():
                break
            if compiling is not None and at > 0:  # else each process would compile all
                compiling.wait()
            covering = _covering(at, len(parts)) if "--cov" in arguments else ()
            statuses.append(_pytest(min(jobs, most), (*part, *covering, *given), variables))
        if linting is not None and linting.wait() != 0:
            return linting.returncode
    nothing = pytest.ExitCode.NO_TESTS_COLLECTED
    # Ended by a signal is a negative one.
    return max((abs(status) for status in statuses if status != nothing), default=nothing)


def _is_path(argument: str) -> bool:
    return (ROOT / argument.partition("::")[0]).exists()


def _covering(at: int, count: int) -> Sequence[str]:
    """For part ``at`` of ``count``: each adds to those before, the last prints what all came to."""
    report = "term" if at == count - 1 else ""
    return ("--cov", *(["--cov-append"] if at else []), f"--cov-report={report}")


def _linting() -> subprocess.Popen[bytes]:
    """A process that looks at style, types and layers."""
    return subprocess.Popen(["make", "--no-print-directory", "lint"], cwd=ROOT)


def _compiling() -> subprocess.Popen[bytes]:
    """A process that compiles all tests: else each of those that run them would."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq"]
    return subprocess.Popen(command, cwd=ROOT, env=_KEEPING, stdout=subprocess.DEVNULL)


def _pytest(processes: int, arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Its exit status."""
    beside = ("-n", str(processes), "--dist", "worksteal") if processes > 1 else ()
    command = [sys.executable, "-m", "pytest", *beside, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env={**_KEEPING, **variables}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # pytest got it, too, and ends what it has started
            process.wait()
            raise


@contextmanager
def _fast_folder() -> Iterator[Path]:
    """A folder in memory, or where temporary files are if there is no room; removed at the end."""
    parent = MEMORY if _has_room(MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix="interaction-mail-", dir=parent))
    folder.chmod(0o1777)  # servers that root starts run as other users
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Whether the tests fit into ``folder``, and programs may be started from it."""
    if not folder.is_dir():
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, str]]:
    """The variables that name the servers; others are looked for where they may run."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        if "TEST_POSTGRESQL_URL" not in os.environ:
            with suppress(pytest.skip.Exception):
                started = stack.enter_context(postgresql.cluster(parent=folder))
                urls["TEST_POSTGRESQL_URL"] = started.url
        if "TEST_MARIADB_URL" not in os.environ:
            with suppress(pytest.skip.Exception):
                url = stack.enter_context(mariadb.mariadb(mariadb.WITHOUT_FSYNC, folder))
                urls["TEST_MARIADB_URL"] = url
        yield urls


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
