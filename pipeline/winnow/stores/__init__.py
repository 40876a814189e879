"""Runs on object stores: published whole by one object, read through local copies.

May import: core, formats, fsspec.
"""
