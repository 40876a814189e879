"""Files: input shards, a run's folder, atomic artifacts with completion markers.

May import: core, pyarrow, fsspec, numpy. Never engines or steps.
"""
