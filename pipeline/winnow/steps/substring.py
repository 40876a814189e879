"""Exact substrings: passages of some bytes that stand in several texts."""

from __future__ import annotations

from winnow.algorithms.dedup.substrings import repeated_passages
from winnow.config.text_steps import SubstringConfig
from winnow.core.task import available_cores
from winnow.steps.contract import Context, Contract, Outcome
from winnow.steps.passages import Corpus, Spans, refuse_too_large, run_on_spans


def contract(config: SubstringConfig) -> Contract:
    """Return what is read: the text."""
    return Contract(frozenset({"text"}), cuts_text=config.action == "cut")


def run(context: Context) -> Outcome:
    """Find repeated passages on the driver; see `passages` for its memory.

    Raises InputError for more text than `max_bytes`.
    """
    config: SubstringConfig = context.config

    def find(corpus: Corpus) -> Spans:
        refuse_too_large(context.step, corpus, config.max_bytes)
        return Spans(
            *repeated_passages(
                corpus.text,
                corpus.bounds,
                config.min_bytes,
                keep_first=config.keep_first,
                threads=available_cores(),
            )
        )

    return run_on_spans(context, find)
