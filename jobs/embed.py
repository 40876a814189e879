"""The vectors of a pool, on Spark: spark-submit jobs/embed.py RECIPE [--set k=v …].

Runs the step `embed` of a recipe. The whole recipe with the same `--out` goes on from
there if nothing stands before its `embed`.
"""

import sys

from winnow.cli.main import main

if __name__ == "__main__":
    given = [*sys.argv[1:], "--set", "steps=[embed]"]
    sys.exit(main(["run", "--engine", "spark", *given]))
