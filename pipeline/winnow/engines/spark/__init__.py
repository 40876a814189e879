"""Apache Spark: the verbs over DataFrames, kernels in its Python workers.

May import: core, config, pyspark.
"""
