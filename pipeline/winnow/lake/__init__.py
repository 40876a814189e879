"""The table product: which tables lie in others, and which of them may go.

May import: core, config, numeric, pages; an engine is handed to it. Never what is
of samples or filters.
"""
