"""Contained tables of a lake on Spark: spark-submit jobs/lake.py RECIPE [--set k=v …].

Takes what `winnow run` takes; a recipe of the table flow: `table_lake`, say.
"""

import sys

from winnow.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "--engine", "spark", *sys.argv[1:]]))
