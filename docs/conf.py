"""Sphinx settings: `make docs`."""

from __future__ import annotations

from importlib import metadata

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
