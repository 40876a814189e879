"""Pure kernels: Arrow and NumPy in, Arrow and NumPy out.

May import: core, numpy, numba, scipy, pyarrow. Never files, logging, polars, pyspark,
torch, faiss, config.
"""

import os as _os

if not _os.path.exists(__file__):
    # Imported from an archive, as a cluster's workers do: before Numba is, it is told
    # where to keep machine code of those.
    _os.environ.setdefault(
        "NUMBA_CACHE_LOCATOR_CLASSES",
        "winnow.numeric.archived.ArchivedLocator,UserProvidedCacheLocator,"
        "InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator",
    )
