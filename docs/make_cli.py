"""Write docs/cli.md, the help of every command; a test checks that it is current.

python docs/make_cli.py
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from gan_slimming.cli import COMMANDS, main

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Commands

What `gan-slimming COMMAND --help` prints.
"""


def page() -> str:
    """Return the page as Markdown, with lines of at most 100 characters in the help."""
    os.environ["COLUMNS"] = "100"
    parts = [HEAD]
    for name in COMMANDS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([name, "--help"])
        parts.append(f"\n## {name}\n\n```text\n{text.getvalue().rstrip()}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
