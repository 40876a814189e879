"""The filter product: data filtering networks trained, judged and told.

May import: flows and what it may; reports, pages. Never `winnow.lake`.
"""
