"""Types, schemas, protocols and errors that every other room speaks in.

May import: the standard library, pyarrow, numpy. Never another room.
"""
