"""Control: the same number of rows of every cluster, drawn by uid hash."""

from __future__ import annotations

from winnow.algorithms.prune.prototypes import uniform_counts
from winnow.config.steps import UniformConfig
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.selection import Words, budget_rows, keep_quotas
from winnow.steps.step import Context, Contract, Outcome, decisions_of


def contract(config: UniformConfig) -> Contract:
    """Return that clusters come in."""
    return Contract(needs=frozenset({"clusters"}), depends_on=frozenset({"seed"}))


def run(context: Context) -> Outcome:
    """Keep the same number of every cluster, drawn by uid hash."""
    engine = context.engine
    count = budget_rows(context, context.config)
    ranked, statistics = rank_in_clusters(context, "random")
    quotas = uniform_counts(statistics["size"].to_numpy(), count)
    words = Words("drawn", "not_drawn")
    decided = keep_quotas(engine, ranked, statistics["cluster"], quotas, words)
    return Outcome(decisions_of(engine, decided), facts={"budget": count})
