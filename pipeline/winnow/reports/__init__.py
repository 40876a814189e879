"""What a run says of itself: SQL over it, survivors, the story of one row.

May import: core, config, formats, pages, models.images and models.language, polars,
duckdb, jinja2, rich. No steps, no algorithms.
"""
