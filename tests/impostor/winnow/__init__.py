"""Another package by the name of ours, first on the path of every Spark worker.

An executor that imports it, instead of what the driver shipped, fails at once.
"""

raise ImportError("this `winnow` is not Winnow: the driver's code was not shipped")
