"""Tables of a lake: which is contained in which, and which of them may go.

May import: core, numeric, numpy, numba, scipy, pyarrow.
"""
