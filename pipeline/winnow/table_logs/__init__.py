"""Logs of tables: which files are a table's rows, and what its columns are called.

For pools and for lakes alike. A table is taken as its newest log says.

May import: core; pyiceberg inside functions.
"""
