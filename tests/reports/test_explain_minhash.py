"""Why a near-duplicate text went, and the threshold that would have kept it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from winnow.reports.explain import explain, tell
from winnow.reports.run_view import RunView

COLUMNS = {"uid": "uid", "image": None, "text": "text"}


def test_a_dropped_row_names_twin_band_and_threshold(
    winnow: Callable[..., Any], write_shards: Callable[..., Path], tmp_path: Path
):
    rng = np.random.default_rng(2)
    texts: list[str] = []
    for i in range(60):
        words = texts[i - i % 4].split() if i % 4 else []
        words = words or [f"w{n}" for n in rng.integers(0, 10**6, 80)]
        if i % 4 == 3:
            words[int(rng.integers(80))] = f"edit{i}"
        texts.append(" ".join(words))
    uids = [f"u{i:02d}" for i in range(60)]
    pool = write_shards(tmp_path / "p", pa.table({"uid": uids, "text": texts}))

    def run(name: str, **settings: Any) -> Any:
        given = {"path": str(pool), "columns": COLUMNS}
        return winnow(pool, tmp_path / name, ["minhash"], input=given, minhash=settings)

    first = run("r")
    view = RunView(tmp_path / "r")
    kept = first.kept("minhash")
    edited = [uid for uid in uids if uid not in kept and int(uid[1:]) % 4 == 3]
    assert len(edited) > 10
    for uid in edited:
        story = explain(view, uid)
        chapter = story["steps"][-1]
        assert chapter["kept_twin"] in kept
        assert 0 <= chapter["shared_band"] < 16
        assert f"they share band {chapter['shared_band']}" in tell(story)
        remedy = re.fullmatch(
            r"minhash.threshold above (\S+)", chapter["would_be_kept"]
        )
        assert remedy, chapter
        threshold = float(np.nextafter(float(remedy[1]), 2))
        assert uid in run("higher", threshold=threshold).kept("minhash")
        assert uid not in run("higher", threshold=chapter["score"]).kept("minhash")
    copy = next(uid for uid in uids if uid not in kept and int(uid[1:]) % 4 == 1)
    assert "same shingles" in explain(view, copy)["steps"][-1]["would_be_kept"]
