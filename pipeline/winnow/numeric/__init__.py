"""What kernels of every product share: the compiler, MinHash permutations.

May import: core, numpy, numba.
"""
