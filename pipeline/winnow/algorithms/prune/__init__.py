"""Pruning by budget: prototypes, cluster complexity, ranking, exact selection.

May import: what `winnow.algorithms` may.
"""
