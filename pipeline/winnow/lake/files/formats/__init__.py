"""One file per format that Arrow, DuckDB or the standard library reads as a whole.

Each says how a file is opened: as a schema, record batches and, where that is known
before, the number of rows. A container names its tables first.
"""
