"""Pure kernels: Arrow and NumPy in, Arrow and NumPy out.

May import: core, numpy, numba, scipy, pyarrow. Never files, logging, polars, pyspark,
torch, faiss, config.
"""
