"""What a run says of itself: survivors step by step, the story of one row.

May import: core, store, config, polars, rich. Never steps or algorithms.
"""
