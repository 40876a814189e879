"""Near-duplicate texts as whole processes: imports, reading, deciding, kept rows.

    python benchmarks/text_processes.py [--data SHARDS] [--rounds 5] [--without-pandas]

`winnow run text_dedup` without its page beside scripts of a compiled library's loop
that read the same shards and write the kept rows. Rounds alternate; CPU seconds of the
least round, then seconds. Modules are compiled to bytecode beforehand, as an installer
does, whatever the environment says. `--without-pandas`: as where it is not installed;
pyarrow imports it, where it is, for the first array that it makes from a list.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import record

BESIDE = Path(__file__).resolve().parents[2] / "shared"
TEXTS = Path(os.environ.get("WINNOW_SHARED", BESIDE)) / "data/texts"

HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError("hidden", name=name)
sys.meta_path.insert(0, Hidden())
"""
WINNOW = """
import sys
from winnow.__main__ import main
sys.argv = ["winnow", "run", "-q", "text_dedup", "--set", f"input.path={sys.argv[1]}",
            "--set", "output.report=false", "--out", sys.argv[2] + "/run"]
sys.exit(main())
"""
LOOP = """
import glob, sys
import pyarrow as pa, pyarrow.parquet as pq
shards = sorted(glob.glob(sys.argv[1] + "/*.parquet"))
table = pa.concat_tables([pq.ParquetFile(shard).read() for shard in shards])
texts = table["text"].to_pylist()
kept = [True] * len(texts)
{loop}
pq.write_table(table.filter(pa.array(kept)), sys.argv[2] + "/kept.parquet")
"""
RENSA = """
import rensa
index, sketches = rensa.RMinHashLSH(threshold=.8, num_perm=128, num_bands=16), {}
for number, text in enumerate(texts):
    words = text.split()
    count = max(len(words) - 4, 1)
    sketch = rensa.RMinHash(num_perm=128, seed=1)
    sketch.update([" ".join(words[i : i + 5]) for i in range(count)])
    near = (sketches.get(other) for other in index.query(sketch))
    if any(other and sketch.jaccard(other) >= .8 for other in near):
        kept[number] = False
    else:
        index.insert(number, sketch)
        sketches[number] = sketch
"""
GAOYA = """
from gaoya.minhash import MinHashStringIndex
index = MinHashStringIndex(32, .8, 16, 8, None, "word", False, (5, 5))
for number, text in enumerate(texts):
    if index.query(text):
        kept[number] = False
    else:
        index.insert_document(number, text)
"""
SCRIPTS = {
    "winnow": WINNOW,
    "rensa": LOOP.format(loop=RENSA),
    "gaoya": LOOP.format(loop=GAOYA),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=TEXTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-pandas", action="store_true")
    options = parser.parse_args()
    names = [name for name in SCRIPTS if importlib.util.find_spec(name)]
    head = HIDDEN if options.without_pandas else ""
    rounds = {name: list[tuple[float, float]]() for name in names}
    with tempfile.TemporaryDirectory() as bytecode:
        # The first also compiles kernels, where none are kept.
        for number in range(options.rounds + 1):
            for name in names:
                took = measured(head + SCRIPTS[name], options.data, bytecode)
                if number:
                    rounds[name].append(took)
    for name in names:
        cpu, wall = (min(column) for column in zip(*rounds[name], strict=True))
        print(f"{name:10s} {cpu:6.2f} CPU s {wall:6.2f} s")
        if name != "winnow":
            least = min(cpu for cpu, _ in rounds["winnow"])
            record(
                f"20,000 texts, whole process: Winnow / {name}",
                least / cpu,
                asked="<= 1.5",
            )


def measured(script: str, data: Path, bytecode: str) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of one process.

    bytecode: the folder where Python keeps it between processes.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", script, str(data), folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, wall


if __name__ == "__main__":
    sys.exit(main())
