"""Filters judged: held-out figures, agreement of selections, what they train.

May import: core, config, algorithms, models, formats, steps, reports.page.
"""
