"""The command of a record."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def command_line() -> str:
    """Return the command without the folders of this machine."""
    return " ".join(Path(a).name if os.path.isabs(a) else a for a in sys.argv)
