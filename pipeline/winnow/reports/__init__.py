"""What a run says of itself: SQL over it, survivors, the story of one row.

May import: core, formats, config, polars, duckdb, jinja2, rich. No steps, no algorithms.
"""
