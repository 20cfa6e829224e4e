"""Sphinx settings: `make docs`."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import llms

project = "Flask-Interaction-Mail"
author = "The Flask-Interaction-Mail authors"
project_copyright = f"2026, {author}"
release = metadata.version("flask-interaction-mail")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
# The reference is about what a name does; where it is defined is nobody's business.
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_extra_path = ["llms.txt"]


def add_markdown(app: Any, error: Exception | None) -> None:
    """Put the Markdown of each page beside its HTML, where ``llms.txt`` leads to."""
    if error is None and app.builder.name == "html":
        for name in llms.names():
            (Path(app.outdir) / f"{name}.md").write_text(llms.text_of(name), "utf-8")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("build-finished", add_markdown)
