"""Duplicates: exact, semantic, near-identical text.

May import: what `winnow.algorithms` may.
"""
