"""A distribution of someone else's: a step, an exporter and a score by entry points."""

from __future__ import annotations

from pathlib import Path

_ENTRY_POINTS = """\
[winnow.steps]
letters = letters.kinds:LETTERS

[winnow.exporters]
lines = letters.kinds:LINES

[winnow.scores]
tilted = letters.kinds:TILTED

[winnow.formats]
letters = letters.files:LETTERS
"""

_KINDS = """
from winnow.config.step_kinds import Score, Shown, Step
from winnow.reports.export.exporters import Exporter

LETTERS = Step(
    name="letters",
    version=3,
    module="letters.step",
    section="letters.section:LettersConfig",
    rate=100,
    gives={"letters": "letters"},
    shown=Shown("letters of the caption", ranked=True, remedy="letters.words:remedy"),
)
LINES = Exporter("lines", "letters.lines:write", scores=False)
TILTED = Score("tilted", 1, "letters.tilted:score", options="letters.section:Tilt")
"""

_SECTION = '''
from typing import Annotated

from pydantic import Field
from winnow.config.section import StepConfig


class LettersConfig(StepConfig):
    """Captions of at least so many letters stay."""

    least: Annotated[int, Field(ge=0)] = 12


class Tilt(StepConfig):
    """How far."""

    by: float = 0.0
'''

_STEP = """
import pyarrow as pa
import pyarrow.compute as pc
from functools import partial
from winnow.steps.contract import JUDGED, Contract, Outcome
from winnow.steps.contract import decisions_of, judged, rejects_of


def contract(config):
    return Contract(modalities=frozenset({"text"}), provides=frozenset({"letters"}))


def run(context):
    engine = context.engine
    kernel = partial(judge, reader=context.reader, least=context.config.least)
    rows = engine.map_batches(
        context.samples, kernel, JUDGED, order_by=("source", "row")
    )
    engine.write(
        engine.select(rows, {"uid": "uid", "letters": "score"}),
        str(context.folder / "letters"),
        ["uid"],
    )
    return Outcome(
        decisions_of(engine, rows), rejects_of(engine, rows), {"letters": "letters"}
    )


def judge(batches, *, reader, least):
    for part in reader.read(batches, ("text",)):
        letters = pc.cast(pc.utf8_length(part.column("text")), pa.float64())
        keep = pc.fill_null(pc.greater_equal(letters, least), False)
        reason = pc.if_else(keep, "long_enough", "too_short")
        yield judged(
            part.column("uid"),
            keep,
            pc.coalesce(part.column("reason"), reason),
            score=letters,
            threshold=float(least),
            rejected=pc.is_valid(part.column("reason")),
        )
"""

_WORDS = """
def remedy(run, marker, entry):
    return f"{marker.step}.least at most {entry['score']:.0f}"
"""

_LINES = """
def write(rows, path, shard_rows):
    written = 0
    with open(path, "w") as out:
        for batch in rows.uids():
            out.writelines(f"{uid}\\n" for uid in batch["uid"].to_pylist())
            written += len(batch)
    return written
"""

_TILTED = """
from functools import partial

import numpy as np
import pyarrow as pa
from winnow.core.vectors import to_matrix
from winnow.steps.score_terms import SCORED, Scored


def score(context, pairs, term):
    kernel = partial(tilt, by=term.options["by"])
    return Scored(context.engine.map_batches(pairs, kernel, SCORED), {"by": "hand"})


def tilt(batches, *, by):
    for batch in batches:
        first = to_matrix(batch.column("image"))[:, 0].astype(np.float64)
        yield pa.RecordBatch.from_arrays(
            [batch.column("uid").cast(pa.string()), pa.array(first + by)], schema=SCORED
        )
"""


_FILES = """
from winnow.formats.jsonl_shards import JsonLinesFormat


class LettersFormat(JsonLinesFormat):
    name = "letters"
    title = "letters"
    endings = (".letters",)


LETTERS = LettersFormat()
"""


def install(site: Path) -> Path:
    """Write the distribution as an installer would; return the folder for sys.path."""
    package, about = site / "letters", site / "letters-2.0.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: letters\nVersion: 2.0\n"
    )
    (about / "entry_points.txt").write_text(_ENTRY_POINTS)
    modules = {
        "__init__": "",
        "kinds": _KINDS,
        "files": _FILES,
        "section": _SECTION,
        "step": _STEP,
        "words": _WORDS,
        "lines": _LINES,
        "tilted": _TILTED,
    }
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    return site
