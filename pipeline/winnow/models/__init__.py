"""Neural encoders, image decoding for them, and k-means.

May import: core; torch, open_clip, faiss and PIL inside functions, so that importing
Winnow stays fast. Never engines or steps.
"""
