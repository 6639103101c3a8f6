"""Slim many random generators in float64, and say which of them are not exact.

    python -m tests.property.many_random_nets --nets 1000

Prints a line for each failure and a count at the end; ends with 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nets", type=int, default=1000, help="random generators (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    options = parser.parse_args()
    from tests.property.test_foreign_nets import check_random_net

    started, failed = time.monotonic(), 0
    for seed in range(options.first, options.first + options.nets):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check_random_net(seed)
        except Exception as error:  # any is a failure, and the next net is another matter
            failed += 1
            print(f"{seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if (seed - options.first) % 50 == 49:
            print(f"{seed - options.first + 1} done, {failed} failed", file=sys.stderr, flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{options.nets} nets, {failed} failed, {minutes:.0f} minutes")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
