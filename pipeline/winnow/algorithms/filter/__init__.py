"""Filters: caption and image rules, image-text alignment scores.

May import: what `winnow.algorithms` may.
"""
