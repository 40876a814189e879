#!/usr/bin/env bash
# Make the demo's pool, prune it on a Spark cluster, judge the result.
#
#   demo.sh MASTER_URL [FOLDER [ROWS]]     FOLDER: where driver and workers both see it
set -euo pipefail

master=${1:?usage: demo.sh MASTER_URL [FOLDER [ROWS]]}
folder=${2:-/runs/demo}
rows=${3:-3000}
events=${SPARK_EVENTS:+--spark-conf=spark.eventLog.enabled=true}
events+=${SPARK_EVENTS:+ --spark-conf=spark.eventLog.dir=file://$SPARK_EVENTS}

winnow demo --prepare --out "$folder" --rows "$rows"
# Split on purpose: two options, or none.
# shellcheck disable=SC2086
winnow submit "$folder/recipe.yaml" --master "$master" $events
winnow demo --out "$folder" --rows "$rows"
