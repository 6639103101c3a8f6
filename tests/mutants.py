"""Break the arithmetic in one place at a time, and see whether a test of that module notices.

    python -m tests.mutants --sample 300 --keep mutants

mutmut makes the mutants and runs, for each, the tests below that call the broken function. It
leaves decorated functions out, so in the copy that it works on `@property` and the like become
assignments. What it finds, and why some survivors may live, stands in docs/mutants.md.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {
    "pruning/proximal.py": ["tests/unit/pruning/test_proximal.py"],
    "quantization/affine.py": ["tests/unit/quantization/test_affine.py"],
    "quantization/dynamic.py": ["tests/unit/quantization/test_dynamic.py"],
    "quantization/fake_quant.py": ["tests/unit/quantization/test_fake_quant.py"],
    "training/budget.py": ["tests/unit/training/test_budget.py"],
    "training/muon.py": ["tests/unit/training/test_muon.py"],
    "training/schedule.py": ["tests/unit/training/test_schedule.py"],
}
"""File of the package -> the tests that must notice when it is broken."""
NEEDED = "src", "tests", "configs", "pyproject.toml", "README.md"
LEAST = 0.9
"""Share of the mutants that must be killed."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--sample", type=int, help="how many mutants, drawn at random; all if unset"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--only", default="", help="a part of the names, such as training.muon")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, to look at afterwards")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        prepare(folder.absolute())
        return run(folder, args)
    finally:
        if not args.keep:
            shutil.rmtree(folder)


def prepare(folder: Path) -> None:
    """Copy what the tests need, with the decorators of the mutated files out of the way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    for name in MODULES:
        file = folder / "src/gan_slimming" / name
        file.write_text(undecorated(file.read_text()))
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/gan_slimming/{name}" for name in MODULES],
        "also_copy": ["configs", "README.md"],
        "pytest_add_cli_args_test_selection": [t for tests in MODULES.values() for t in tests],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist"],
        "use_git_change_detection": False,
        "use_setproctitle": False,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n".join(["", "[tool.mutmut]", *lines, ""]))


def undecorated(text: str) -> str:
    """Return the same code with `name = decorator(name)` in place of each '@decorator'."""
    lines = text.split("\n")
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    for function in sorted(functions, key=lambda f: f.lineno, reverse=True):
        for decorator in reversed(function.decorator_list):
            source = ast.unparse(decorator)
            if source in ("staticmethod", "classmethod"):
                continue
            assert decorator.lineno == decorator.end_lineno
            assert function.end_lineno
            indent = " " * function.col_offset
            after = f"{indent}{function.name} = {source}({function.name})"
            lines[function.end_lineno - 1] += f"\n{after}"
            lines[decorator.lineno - 1] = f"{indent}# {source}"
    return "\n".join(lines)


def run(folder: Path, args: argparse.Namespace) -> int:
    """Run all mutants or a sample, print those that live, and return the exit code."""
    mutmut(folder, "run", "--max-children", str(args.workers), "nothing.*", quiet=True)
    names = [name for name in statuses(folder) if args.only in name]
    drawn = random.Random(args.seed).sample(names, min(args.sample or len(names), len(names)))
    print(f"{len(drawn)} of {len(names)} mutants", file=sys.stderr)
    mutmut(folder, "run", "--max-children", str(args.workers), *drawn, quiet=True)
    found = statuses(folder)
    ends = Counter(found[name] for name in drawn)
    for name in sorted(drawn):
        if found[name] not in ("killed", "timeout"):
            print(found[name], mutmut(folder, "show", name, quiet=True))
    killed = ends["killed"] + ends["timeout"]
    share = killed / max(len(drawn), 1)
    print(json.dumps({"mutants": len(names), "run": len(drawn), **ends, "share": round(share, 4)}))
    return int(share < LEAST)


def statuses(folder: Path) -> dict[str, str]:
    """Return name of a mutant -> 'killed', 'survived', 'not checked' and so on."""
    lines = mutmut(folder, "results", "--all", "true", quiet=True).splitlines()
    pairs = (line.strip().rsplit(": ", 1) for line in lines if ": " in line)
    return {name: status for name, status in pairs}


def mutmut(folder: Path, *arguments: str, quiet: bool) -> str:
    """Run mutmut in the copy; return its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=folder, env=environment,
        capture_output=quiet, text=True, check=False,
    )  # fmt: skip
    (folder / "mutmut.log").write_text(f"{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
