"""A run's selection in the formats that training code already reads.

Everything streams: rows are read shard by shard in the order of the input, and an
export gets its name when it is whole.

May import: what `reports` may; nothing of a page.
"""
