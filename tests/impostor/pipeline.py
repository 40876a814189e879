"""A module of a user's own, first on the path of every Spark worker."""

raise ImportError("nothing of Winnow may ask for a module called `pipeline`")
