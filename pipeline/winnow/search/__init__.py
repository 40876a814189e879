"""Rows of a run by likeness: words, a picture or a row, under a condition.

May import: reports, steps, indexes, models, pages, core.
"""
