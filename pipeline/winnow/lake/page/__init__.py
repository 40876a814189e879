"""A scan's page: what can go, islands of contained tables, near containments.

May import: what `winnow.lake` may.
"""
