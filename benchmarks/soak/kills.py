"""Commands killed by the hundred: the old result stands, and the new one comes.

    python benchmarks/soak/kills.py --kills 200 --seed 1 --log kills.log

Of every flow a process is killed at a moment drawn at random: half of them at a moment
of its time, half just before one of the changes that it makes to its files (a rename, a
removal, a link, a new folder, a file opened to be written), which an audit hook of this
file counts. After each kill commands that read have to answer as before the command, or
as after it; then the same command is given again, and every file has to be, byte for
byte, that of a run that nobody disturbed, but for what it measured of itself.

A command is not started by the shell: this process imports everything, computes
nothing, and every command is a fork of it that calls `winnow`'s entry point with the
arguments given. So 200 kills cost 200 short runs, and no 200 imports of torch.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
# A thread that a library has started would be missing in the forks.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"
# GNU's OpenMP, which numba would take, ends a fork of a process that has used it.
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"
os.environ["POLARS_MAX_THREADS"] = "1"

import kill_flows
from forks import FaultError, ended, import_everything
from kill_flows import Scenario
from later_flows import judgements, looks

FLOWS = {**kill_flows.FLOWS, "looks": looks, "judgements": judgements}


@dataclass
class Undisturbed:
    """What a scenario comes to when nothing happens to it."""

    files: dict[str, Any]
    before: str
    after: list[str]
    seconds: float
    changes: int


def undisturbed(scenario: Scenario) -> Undisturbed:
    """Play a scenario twice; raises FaultError if it fails or comes out otherwise."""
    scenario.reset()
    before = ended(scenario, readers=scenario.readers).told
    came: list[dict[str, Any]] = []
    for _ in range(2):
        scenario.reset()
        whole = ended(scenario)
        if whole.status:
            raise FaultError(f"undisturbed, it fails: {whole.told[-2000:]}")
        came.append(scenario.results())
    require_same(came[0], came[1])
    # Where one command follows another, readers may see what each of them left.
    after = []
    for number in range(1, len(scenario.commands) + 1):
        scenario.reset()
        part = Scenario(**{**vars(scenario), "commands": scenario.commands[:number]})
        ended(part)
        after.append(ended(scenario, readers=scenario.readers).told)
    return Undisturbed(came[0], before, after, whole.seconds, whole.changes)


def require_same(wanted: dict[str, Any], came: dict[str, Any]) -> None:
    """Raise FaultError that names the files that differ."""
    names = wanted.keys() | came.keys()
    other = sorted(n for n in names if wanted.get(n) != came.get(n))
    if other:
        shown = "\n".join(
            f"  {n}: {str(wanted.get(n))[:300]} | {str(came.get(n))[:300]}"
            for n in other[:6]
        )
        raise FaultError(f"{len(other)} files differ (wanted | came):\n{shown}")


def play(scenario: Scenario, wanted: Undisturbed, rng: random.Random) -> str:
    """Kill, read, go on, compare; return what was done. Raises FaultError."""
    scenario.reset()
    if rng.random() < 0.5:
        moment = rng.uniform(0, 1.05 * wanted.seconds)
        done = ended(scenario, after_seconds=max(moment, 1e-3))
        how = f"after {moment:.3f} s"
    else:
        change = rng.randrange(1, wanted.changes + 1)
        done = ended(scenario, at_change=change)
        how = f"at change {change}"
    if not done.killed and done.status:
        raise FaultError(f"{how}: it failed by itself: {done.told[-2000:]}")
    how += f", in command {done.commands + 1}" if done.killed else ", had ended"
    try:
        _require_readable(scenario, wanted, done.commands)
        if done.killed:
            again = ended(scenario, done.commands)
            if again.status and not scenario.may_refuse(again.told):
                raise FaultError(f"again: {again.told[-2000:]}")
        require_same(wanted.files, scenario.results())
    except FaultError as fault:
        raise FaultError(f"{how}: {fault}") from fault
    return how


def _require_readable(scenario: Scenario, wanted: Undisturbed, commands: int) -> None:
    """Raise FaultError if what reads answers neither as before nor as after."""
    if scenario.check is not None:
        fault = scenario.check(scenario)
        if fault:
            raise FaultError(fault)
    if not scenario.readers:
        return
    answer = ended(scenario, readers=scenario.readers).told
    if "Traceback" in answer or "unexpected" in answer:
        raise FaultError(f"a reader fails: {answer[-2000:]}")
    states = [wanted.before, *wanted.after]
    allowed = {kill_flows.plain_answer(a) for a in states[commands : commands + 2]}
    if scenario.steady and kill_flows.plain_answer(answer) not in allowed:
        raise FaultError(f"a reader answers otherwise: {answer[-3000:]}")


def campaign(asked: argparse.Namespace, scratch: Path, log: Any) -> Iterator[str]:
    """Play every flow; yield a line for each."""
    for name in asked.only or sorted(FLOWS):
        scenarios = FLOWS[name](scratch / name)
        begun, faults = time.perf_counter(), 0
        known = {one.name: undisturbed(one) for one in scenarios}
        standing = [(one, known[one.name]) for one in scenarios]
        for one, wanted in standing[: len(known)]:
            log.write(
                f"{name} {one.name}: {wanted.seconds:.2f} s, {wanted.changes} changes\n"
            )
        kinds: collections.Counter[str] = collections.Counter()
        for number in range(asked.first, asked.first + asked.kills):
            one, wanted = standing[number % len(standing)]
            rng = random.Random(f"{asked.seed}:{name}:{number}")
            try:
                how = play(one, wanted, rng)
                kinds[how.split()[0] if "ended" not in how else "ended"] += 1
                log.write(f"{name} {number} {one.name}: {how}\n")
            except FaultError as fault:
                faults += 1
                log.write(f"FAULTY {name} {number} {one.name}: {fault}\n")
            log.flush()
        seconds = time.perf_counter() - begun
        told = (
            f"{kinds['after']} by time, {kinds['at']} at a change, "
            f"{kinds['ended']} had ended"
        )
        yield f"{name}: {asked.kills} ({told}), {faults} faulty, {seconds:.0f} s"


def main() -> int:
    """Play the campaign; exit code 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of every flow")
    parser.add_argument("--first", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("kills.log"))
    parser.add_argument("--only", choices=sorted(FLOWS), nargs="+")
    asked = parser.parse_args()
    faulty = False
    with tempfile.TemporaryDirectory() as scratch, asked.log.open("w") as log:
        log.write(f"seed {asked.seed}; every command is a fork that has imported all\n")
        kill_flows.make_pools(Path(scratch))
        import_everything()
        for line in campaign(asked, Path(scratch), log):
            print(line, flush=True)
            log.write(f"{line}\n")
            faulty |= ", 0 faulty" not in line
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main())
