"""Near-duplicate text on Spark: spark-submit jobs/text_dedup.py [RECIPE] [--set k=v …].

Takes what `winnow run` takes; the recipe is `text_dedup` unless another is named.
"""

import sys

from winnow.cli.main import main

if __name__ == "__main__":
    given = sys.argv[1:]
    if not given or given[0].startswith("-"):
        given = ["text_dedup", *given]
    sys.exit(main(["run", "--engine", "spark", *given]))
