"""The stages of a lake's scan that read rows: sketches, samples, content.

May import: what `winnow.steps` may.
"""
