"""One file per step: each joins engine verbs to kernels.

May import: core, config, algorithms, models, formats, indexes, and pages for
conditions in SQL. Never a concrete engine, polars or pyspark. Kernels are module-level
functions bound with `functools.partial`, so that they pickle for any engine's workers.
"""
