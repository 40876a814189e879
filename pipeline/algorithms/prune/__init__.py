"""Pruning by budget: prototypes, cluster complexity, ranking, exact selection.

May import: what `pipeline.algorithms` may.
"""
