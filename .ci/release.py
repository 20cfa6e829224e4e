"""Make a release: the version, the date in CHANGES.md, a commit, a tag, and checked distributions.

All of it is done in a clone of its own. Only if everything is right do commit and tag come here, so
a failure leaves nothing behind. Nothing is uploaded or pushed; the last lines say how to do that.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
VERSION = re.compile(r"\d+(\.\d+)+((a|b|rc)\d+)?")  # PEP 440, without what no release needs
_SET_VERSION = re.compile(r"^version = (.*)$", re.MULTILINE)
_NEWEST = re.compile(r"^## (\S+) \(([^)]*)\)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", nargs="?", help="by default the one in setup.cfg")
    parser.add_argument("--dry-run", action="store_true", help="leave no commit and no tag")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="release-") as folder:
            _release(Path(folder) / "clone", options.version, options.dry_run)
    except RuntimeError as error:
        print(f"No release: {error}", file=sys.stderr)
        return 1
    return 0


def _release(clone: Path, version: str | None, dry: bool) -> None:
    _must(not _git(ROOT, "status", "--porcelain"), "commit your changes first")
    _run("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone)
    version = _prepared(clone, version)
    tag = f"v{version}"
    _must(not _git(clone, "tag", "--list", tag), f"there is a tag {tag} already")
    _commit(clone, f"Version {version}")
    built = _built(clone)
    _git(clone, *_author(), "tag", "--annotate", tag, "--message", f"Version {version}")
    _deliver(built)
    if dry:
        print(f"A dry run: {tag} was built and checked, and no commit or tag was made.")
        return
    _git(ROOT, "pull", "--quiet", "--ff-only", "--tags", clone, "HEAD")
    print(f"{tag} is committed and tagged. To publish it:")
    print(f"  git push --follow-tags\n  {sys.executable} -m twine upload dist/*.whl dist/*.tar.gz")


def _prepared(clone: Path, version: str | None) -> str:
    """Write version and date into the files of the clone; give the version."""
    metadata, changes = clone / "setup.cfg", clone / "CHANGES.md"
    text = metadata.read_text("utf-8")
    found = _SET_VERSION.search(text)
    version = version or (found[1] if found else "")
    _must(VERSION.fullmatch(version), f"{version!r} is no version, such as 1.2.0 or 1.3.0rc1")
    metadata.write_text(_SET_VERSION.sub(f"version = {version}", text, count=1), "utf-8")

    text = changes.read_text("utf-8")
    newest = _NEWEST.search(text)
    if newest is None:
        raise RuntimeError("CHANGES.md has no entry")
    _must(newest[2] == "unreleased", f"the newest entry of CHANGES.md, {newest[1]}, is released")
    _must(newest[3].strip(), f"CHANGES.md says nothing about {newest[1]}")
    heading = f"## {version} ({datetime.now(UTC):%Y-%m-%d})"
    changes.write_text(text.replace(f"## {newest[1]} (unreleased)", heading, 1), "utf-8")
    return version


def _commit(clone: Path, message: str) -> None:
    _git(clone, "add", "--update")
    _git(clone, *_author(), "commit", "--quiet", "--message", message)


def _author() -> list[str]:
    """The name and address that commits of this repository get, which a clone does not inherit."""
    keys = ("user.name", "user.email")
    found = [(key, _run("git", "-C", ROOT, "config", "--default", "", key)) for key in keys]
    return [part for key, value in found if value for part in ("-c", f"{key}={value}")]


def _built(clone: Path) -> Path:
    """Build the distributions twice, check them, and give their folder.

    The wheel is built from the source distribution, and again from the clone: both must be the same
    to the byte, or others could not verify it.
    """
    seconds = _git(clone, "log", "-1", "--format=%ct")
    settings = os.environ | {"SOURCE_DATE_EPOCH": seconds}
    os.umask(0o022)  # the modes of files are in a wheel
    first, again = clone.parent / "dist", clone.parent / "again"
    for folder, kinds in ((first, ()), (again, ("--wheel",))):
        _run(sys.executable, "-m", "build", "--outdir", folder, *kinds, clone, env=settings)
    (wheel,) = first.glob("*.whl")
    same = _sha256(wheel) == _sha256(again / wheel.name)
    _must(same, f"{wheel.name} differs when it is built again")
    files = sorted(first.iterdir())
    _run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files)
    lines = [f"{_sha256(path)}  {path.name}\n" for path in files]
    (first / "SHA256SUMS").write_text("".join(lines), "utf-8")
    return first


def _deliver(built: Path) -> None:
    """Put what was built into ``dist``, instead of what was there."""
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.copytree(built, DIST)
    print((DIST / "SHA256SUMS").read_text("utf-8"), end="")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(folder: Path, *arguments: object) -> str:
    return _run("git", "-C", folder, *arguments)


def _run(*command: object, env: dict[str, str] | None = None) -> str:
    """Run a program, and give what it wrote; if it fails, say what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        stdin=subprocess.DEVNULL,
    )
    _must(done.returncode == 0, f"{command[0]} failed.\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def _must(condition: object, otherwise: str) -> None:
    if not condition:
        raise RuntimeError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
