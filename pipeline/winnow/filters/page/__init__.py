"""Pages of filters: training curves, comparisons, purity.

May import: pages, core.
"""
