"""Decide over samples on Spark: spark-submit jobs/curate.py RECIPE [--set k=v …].

Takes what `winnow run` takes. Input and run have to lie where driver and workers see
them under the same path.
"""

import sys

from winnow.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "--engine", "spark", *sys.argv[1:]]))
