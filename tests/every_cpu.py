"""Run the tests of int8 kernels as on each kind of CPU that this one can stand for.

    python tests/every_cpu.py -m int8

All arguments go to pytest. Where they name no file or folder, each kind imports only the files that
hold tests marked int8. Ends with 1 if any test fails on any kind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gan_slimming.runtime.openvino_int8 import ISA_LIMIT, kinds_of_cpu

TESTS = Path(__file__).parent


def marked_files(folder: Path = TESTS) -> list[Path]:
    """Return the files of tests below a folder that mark any of them int8."""
    return [file for file in sorted(folder.rglob("test_*.py")) if "mark.int8" in file.read_text()]


def run(command: list[str], kind: str) -> subprocess.CompletedProcess[str]:
    """Run a command as on a kind of CPU; all that it says is in its stdout."""
    return subprocess.run(
        command, env={**os.environ, ISA_LIMIT: kind}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip


def main() -> int:
    if os.environ.get(ISA_LIMIT):
        print(f"{ISA_LIMIT} is set: int8 was tested as on {os.environ[ISA_LIMIT]} alone")
        return 0
    kinds = kinds_of_cpu()
    print(
        f"int8 as on {', '.join(kinds) or 'this CPU alone, which shows no other kinds'}", flush=True
    )
    named = any(Path(argument).exists() for argument in sys.argv[1:])
    files = [] if named else [str(file) for file in marked_files()]
    failed = []
    # One process for each kind, as many at a time as there are cores: starting costs the most.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        command = [sys.executable, "-m", "pytest", *sys.argv[1:], *files]
        for kind, done in zip(kinds, pool.map(lambda kind: run(command, kind), kinds), strict=True):
            print(f"\nint8 as on {kind}\n{done.stdout}", flush=True)
            if done.returncode:
                failed.append(kind)
    print(f"\nint8 tests failed as on {', '.join(failed)}" if failed else "\nint8 tests passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
