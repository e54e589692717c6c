"""The documentation site: pip install -e .[docs] && sphinx-build -W docs site"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hwilib_cryptnox

project = "hwi-cryptnox"
version = release = hwilib_cryptnox.__version__
html_title = f"hwi-cryptnox {release}"
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = False
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # blocks that show what programs print

html_theme = "furo"  # dark mode, previous and next, tables that scroll by themselves; loads nothing from elsewhere
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}

# The commands alone: no prompt, no output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_remove_prompts = True
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"

_FACT = re.compile(r"^(?:Requires|Raises|Source|Returns|`\w+`(?: and `\w+`)*): ")


def _plain(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """The docstrings are plain text with code in single back quotes. Each fact with a name of its own has a line."""
    shown: list[str] = []
    for line in lines:
        if _FACT.match(line.strip()) and shown and shown[-1]:
            shown.append("")
        parts = re.split(r"(`[^`]+`)", line)
        shown.append("".join(part if part.startswith("`") else re.sub(r"([\\*|_])", r"\\\1", part) for part in parts))
    lines[:] = shown


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", _plain)  # type: ignore[attr-defined]
