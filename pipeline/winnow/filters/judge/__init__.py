"""Filters judged: held-out figures, agreement of selections, what they train.

May import: what `winnow.filters` may.
"""
