"""The local app: a whole run in a browser, on this machine alone.

May import: core, config, formats, models, pages, reports, lake, and starlette,
uvicorn, jinja2, duckdb, numpy, pyarrow, PIL. The row index is built once beside the
run; a page reads of it what it shows.
"""
