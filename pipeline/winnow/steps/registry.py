"""Every kind of step by the name it has in recipes, ledger and configuration."""

from __future__ import annotations

from winnow.steps import (
    apply,
    cluster,
    complexity,
    controls,
    custom,
    decontaminate,
    embed,
    exact,
    index,
    minhash,
    overrides,
    prototypes,
    rules,
    score,
    semantic,
    soft_cap,
)
from winnow.steps.step import Step

#: The step that every run begins with; it has no section of its own.
INDEX = "index"
#: The step before `apply` in a run that has a file of overrides; no section either.
OVERRIDES = "overrides"

STEPS: dict[str, Step] = {
    INDEX: Step(index.contract, index.run),
    "exact": Step(exact.contract, exact.run),
    "decontaminate": Step(decontaminate.contract, decontaminate.run),
    "minhash": Step(minhash.contract, minhash.run, minhash.reuse),
    "rules": Step(rules.contract, rules.run),
    "embed": Step(embed.contract, embed.run, embed.reuse),
    "cluster": Step(cluster.contract, cluster.run),
    "semantic": Step(semantic.contract, semantic.run, semantic.reuse),
    "prototypes": Step(prototypes.contract, prototypes.run),
    "complexity": Step(complexity.contract, complexity.run),
    "score": Step(score.contract, score.run, score.reuse),
    "soft_cap": Step(soft_cap.contract, soft_cap.run),
    "random": Step(controls.random_contract, controls.random_run),
    "uniform": Step(controls.uniform_contract, controls.uniform_run),
    "custom": Step(custom.contract, custom.run),
    OVERRIDES: Step(overrides.contract, overrides.run),
    "apply": Step(apply.contract, apply.run),
}
