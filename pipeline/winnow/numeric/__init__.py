"""What kernels of every product share: the compiler, MinHash permutations, what a
device for products is asked.

May import: core, numpy, numba.
"""
