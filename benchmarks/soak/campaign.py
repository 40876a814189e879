"""Hostile inputs by the thousand: no traceback, no row lost, nothing read outside.

    python benchmarks/soak/campaign.py --cases 10000 --seed 1 --log soak.log

Every case has a number and a family; `--only FAMILY --first N --cases 1` plays one
again. Each faulty case is a line of the log with its traceback. Exit code 1 if there
was one.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from families import FAMILIES, Ground


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("soak.log"))
    parser.add_argument("--only", choices=sorted(FAMILIES))
    asked = parser.parse_args()
    names = [asked.only] if asked.only else sorted(FAMILIES)
    done: collections.Counter[str] = collections.Counter()
    faulty: collections.Counter[str] = collections.Counter()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, asked.log.open("w") as log:
        ground = Ground(Path(scratch))
        for number in range(asked.first, asked.first + asked.cases):
            family = names[number % len(names)]
            rng = random.Random(f"{asked.seed}:{family}:{number}")
            done[family] += 1
            # Written first: a case may take the whole process along.
            log.write(f"{number} {family}\n")
            log.flush()
            try:
                FAMILIES[family](rng, ground)
            except Exception:
                faulty[family] += 1
                log.write(f"FAULTY {number} {family}\n{traceback.format_exc()}\n")
    seconds = time.perf_counter() - begun
    print(f"seed {asked.seed}, {seconds:.0f} s; family: cases, faulty")
    for family in names:
        print(f"  {family}: {done[family]:,}, {faulty[family]}")
    return int(bool(faulty.total()))


if __name__ == "__main__":
    sys.exit(main())
