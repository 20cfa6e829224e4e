"""The description that a package index shows: the README, without links to files beside it.

Such files are in the source distribution, and on no index, so a link to one becomes its words and
the file's name, and a picture goes. Everything else about the package is in setup.cfg.
"""

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n\n", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def _with_name(link: re.Match[str]) -> str:
    """Say where the file is, unless the words say so already."""
    words, name = link.groups()
    return words if words.strip("`") == name else f"{words} (`{name}`)"


_readme = Path(__file__).with_name("README.md").read_text("utf-8")
setup(long_description=_LINK.sub(_with_name, _PICTURE.sub("", _readme)))
