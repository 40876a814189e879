"""Hostile inputs by the thousand: no traceback, no row lost, nothing touched outside.

    python benchmarks/soak/campaign.py --cases 10000 --seed 1 --log soak.log

Every case has a number and a family; `--only FAMILY --first N --cases 1` plays one
again. Each faulty case is a line of the log with its traceback. Exit code 1 if there
was one. Whether files outside are touched is watched by `canary.py` in every case.
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

import families
from canary import Canaries, keep_scratch_below
from families import Ground
from picture_families import PICTURES

FAMILIES = {**families.FAMILIES, **PICTURES}

#: Families whose cases are whole commands: played once where the others are 20 times.
_COMMANDS = {"damaged_runs", "damaged_scans", "indexes", "lakes", "lock_files"}
_COMMANDS |= PICTURES.keys()
_OFTEN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("soak.log"))
    parser.add_argument("--only", choices=sorted(FAMILIES))
    asked = parser.parse_args()
    names = [asked.only] if asked.only else sorted(FAMILIES)
    short = [name for name in names if name not in _COMMANDS]
    turns = names if asked.only else [*names, *short * (_OFTEN - 1)]
    done: collections.Counter[str] = collections.Counter()
    faulty: collections.Counter[str] = collections.Counter()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, asked.log.open("w") as log:
        here = Path(scratch).resolve()
        keep_scratch_below(here / "ground")
        canaries = Canaries(here, here / "ground")
        if not canaries.sees_reads:
            print("this file system keeps no times of access: C++ may read unseen")
        ground = Ground(here / "ground" / "cases", canaries.files)
        for number in range(asked.first, asked.first + asked.cases):
            family = turns[number % len(turns)]
            rng = random.Random(f"{asked.seed}:{family}:{number}")
            done[family] += 1
            # Written first: a case may take the whole process along.
            log.write(f"{number} {family}\n")
            log.flush()
            try:
                with canaries:
                    FAMILIES[family](rng, ground)
                canaries.require_untouched(contents=not number % 50)
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
