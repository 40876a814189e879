"""Filters: caption and image rules, image-text alignment scores.

May import: what `pipeline.algorithms` may.
"""
