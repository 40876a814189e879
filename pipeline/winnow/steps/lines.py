"""Lines and paragraphs that stand in many texts: boilerplate, exactly repeated.

As in C4 and CCNet (Raffel et al. 2020, §2.2; Wenzek et al. 2020, §3.1), but in whole
texts' order of uids, so that which one stays depends on no shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from winnow.config.text_steps import LinesConfig
from winnow.core.hashing import digest
from winnow.steps.contract import Context, Contract, Outcome
from winnow.steps.passages import Corpus, Spans, run_on_spans

_LINE = re.compile(rb"[^\n]+\n?")
# A paragraph goes to the next empty line.
_PARAGRAPH = re.compile(rb"[^\n](?:[^\n]|\n(?![ \t\r]*\n))*\n*")


def contract(config: LinesConfig) -> Contract:
    """Return what is read: the text."""
    return Contract(frozenset({"text"}), cuts_text=config.action == "cut")


def run(context: Context) -> Outcome:
    """Count in how many texts each line stands, on the driver, 40 bytes for each."""
    config: LinesConfig = context.config
    return run_on_spans(context, lambda corpus: repeated_lines(corpus, config))


def repeated_lines(corpus: Corpus, config: LinesConfig) -> Spans:
    """Return the lines of a corpus that stand in at least `min_texts` texts."""
    columns = list(zip(*_lines(corpus, config), strict=True))
    if not columns:
        none = np.zeros(0, np.int64)
        return Spans(none, none, none, none)
    start, end, row = (np.array(column, np.int64) for column in columns[:3])
    contents = np.frombuffer(b"".join(columns[3]), "V16")
    _, first, line, copies = np.unique(
        contents, return_index=True, return_inverse=True, return_counts=True
    )
    texts = np.bincount(
        np.unique(np.stack([line, row]), axis=1)[0], minlength=len(first)
    )
    repeated = texts[line] >= config.min_texts
    earliest = first[line] == np.arange(len(line))
    if config.keep_first:
        repeated &= ~earliest
    first_start = np.where(earliest, -1, start[first[line]])
    return Spans(
        start[repeated], end[repeated], first_start[repeated], copies[line][repeated]
    )


def _lines(
    corpus: Corpus, config: LinesConfig
) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield start, end, row and content of each line that is long enough."""
    pattern = _LINE if config.by == "line" else _PARAGRAPH
    for row in range(len(corpus.uids)):
        base = int(corpus.bounds[row])
        text = corpus.text[base : corpus.bounds[row + 1]].tobytes()
        for match in pattern.finditer(text):
            content = match.group().strip()
            if len(content.decode()) >= config.min_chars:
                yield base + match.start(), base + match.end(), row, digest(content)
