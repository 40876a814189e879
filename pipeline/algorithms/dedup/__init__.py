"""Duplicates: exact, semantic, near-identical text.

May import: what `pipeline.algorithms` may.
"""
