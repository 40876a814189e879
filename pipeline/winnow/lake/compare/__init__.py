"""The stages of a lake's scan that read rows: sketches, samples, content.

May import: core, config, lake.files, lake.kernels. Never a concrete engine.
"""
