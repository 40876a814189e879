"""Proof: what a small model learns from what a run keeps, from chance, from all.

May import: what `winnow.filters` may.
"""
