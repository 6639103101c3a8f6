"""Count what makes the source hard to navigate, before and after a change.

python benchmarks/house.py v0.1.0 HEAD

It compares revisions of this repository: names at the top of the package, imports between them
(arrows), import circles of files, lines in workflows and cli, functions of more than 40 lines,
files of more than 300, and words in the README. Local imports and those for annotations count too.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import tempfile
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "gan_slimming"
MAX_FUNCTION, MAX_FILE = 40, 300


def main() -> None:
    """Print a row for each count and a column for each revision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("revisions", nargs="+", help="commits, tags or branches")
    revisions = parser.parse_args().revisions
    counts = [count(revision) for revision in revisions]
    print(f"{'':38}", *(f"{revision[:12]:>12}" for revision in revisions))
    for name in counts[0]:
        print(f"{name:38}", *(f"{found[name]:>12,}" for found in counts))


def count(revision: str) -> dict[str, int]:
    """Return name of a count -> its value for one revision."""
    with tempfile.TemporaryDirectory(prefix="house-") as folder:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, "src", "README.md"],
            capture_output=True,
            check=True,
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        package = Path(folder, "src", PACKAGE)
        files = {name_of(path, package): path for path in package.rglob("*.py")}
        texts = {name: path.read_text() for name, path in files.items()}
        imports = {name: imports_of(text, files) - {name} for name, text in texts.items()}
        lines = {name: text.count("\n") for name, text in texts.items()}
        tops = {(name.split(".")[1:] or [""])[0] for name in files} - {"", "__main__"}
        return {
            "names at the top": len(tops),
            "arrows between them": len(arrows(imports)),
            "circles of files": circles(imports),
            "lines in workflows": sum(n for name, n in lines.items() if ".workflows" in name),
            "lines in cli": sum(n for name, n in lines.items() if ".cli" in name),
            f"functions of more than {MAX_FUNCTION} lines": sum(
                map(long_functions, texts.values())
            ),
            f"files of more than {MAX_FILE} lines": sum(n > MAX_FILE for n in lines.values()),
            "files": len(files),
            "lines": sum(lines.values()),
            "words in README": len(Path(folder, "README.md").read_text().split()),
        }


def name_of(path: Path, package: Path) -> str:
    """Return a file's dotted module name."""
    parts = (PACKAGE, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imports_of(text: str, files: dict[str, Path]) -> set[str]:
    """Return the package's modules that a source text imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    modules = found & files.keys()
    # 'from package import module' needs the package's __init__ only if that defines the name.
    return {m for m in modules if not any(other.startswith(f"{m}.") for other in modules)}


def arrows(imports: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the pairs (importer, imported) of names at the top of the package."""
    pairs = {
        (importer.split(".")[1], imported.split(".")[1])
        for importer, targets in imports.items()
        for imported in targets
        if "." in importer and "." in imported
    }
    return {(a, b) for a, b in pairs if a != b}


def circles(imports: dict[str, set[str]]) -> int:
    """Return the number of imports to remove until no files import each other in a circle.

    The package's own __init__, which re-exports names, is left out.
    """
    graph = {name: set(targets) - {PACKAGE} for name, targets in imports.items() if name != PACKAGE}
    removed = 0
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            imported, importer = error.args[1][:2]
            graph[importer].discard(imported)
            removed += 1
        else:
            return removed


def long_functions(text: str) -> int:
    """Return the number of functions of more than MAX_FUNCTION lines without docstring."""
    long = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            last = (node.end_lineno or 0) if body else 0
            long += bool(body) and last - body[0].lineno + 1 > MAX_FUNCTION
    return long


if __name__ == "__main__":
    main()
