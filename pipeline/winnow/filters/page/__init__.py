"""Pages of filters: training curves, comparisons, purity."""
