"""Pools on disk: shards found, rows read by reference, kept rows written in kind.

May import: core, pyarrow, fsspec, numpy. Never engines or steps.
"""
