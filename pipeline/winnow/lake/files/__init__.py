"""A lake of tables: which there are, what their footers say, their rows by reference.

May import: core, lake.kernels, pyarrow, fsspec, numpy; duckdb for text files and
deltalake for logs.
"""
