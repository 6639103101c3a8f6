"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

python tests/lowest.py > lowest.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = "demo", "export", "flip", "hub", "video"
"""Those of users. What only developers need is taken as pinned in constraints.txt."""
BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)")


def lowest(text: str) -> list[str]:
    """Return 'name==version' for each requirement of a pyproject.toml, in its order."""
    project = tomllib.loads(text)["project"]
    more = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    found = [BOUND.match(line) for line in project["dependencies"] + more]
    return [f"{bound[1]}=={bound[2]}" for bound in found if bound]


if __name__ == "__main__":
    print("\n".join(lowest((Path(__file__).parents[1] / "pyproject.toml").read_text())))
