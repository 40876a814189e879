"""Control: the same number, or the same share, of every cluster, drawn by uid hash."""

from __future__ import annotations

from winnow.algorithms.prune.prototypes import proportional_counts, uniform_counts
from winnow.config.steps import UniformConfig
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.contract import Context, Contract, Outcome, decisions_of
from winnow.steps.selection import Words, budget_rows, keep_quotas


def contract(config: UniformConfig) -> Contract:
    """Return that clusters come in."""
    return Contract(needs=frozenset({"clusters"}), depends_on=frozenset({"seed"}))


def run(context: Context) -> Outcome:
    """Keep the same number or share of every cluster, drawn by uid hash."""
    engine, config = context.engine, context.config
    count = budget_rows(context, config)
    ranked, statistics = rank_in_clusters(context, "random")
    spread = uniform_counts if config.equal == "number" else proportional_counts
    quotas = spread(statistics["size"].to_numpy(), count)
    words = Words("drawn", "not_drawn")
    decided = keep_quotas(engine, ranked, statistics["cluster"], quotas, words)
    return Outcome(decisions_of(engine, decided), facts={"budget": count})
