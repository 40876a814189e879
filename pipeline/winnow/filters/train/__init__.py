"""Training of data filtering networks (Fang et al. 2023, arXiv 2309.17425).

May import: what `winnow.filters` may; torch, open_clip, safetensors and PIL inside
functions.
"""
