"""Indexes on disk of what was kept before, for pools that grow.

May import: core, pyarrow, numpy.
"""
