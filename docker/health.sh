#!/usr/bin/env bash
# Ask the pages of this container's role; a container without a role is healthy.
#
#   WINNOW_ROLE   master, worker or history (what spark.sh runs)
set -euo pipefail

case ${WINNOW_ROLE:-} in
  master) port=${SPARK_MASTER_WEBUI_PORT:-8080} path=json/ ;;
  worker) port=${SPARK_WORKER_WEBUI_PORT:-8081} path=json/ ;;
  history) port=${SPARK_HISTORY_PORT:-18080} path=api/v1/version ;;
  *) exit 0 ;;
esac
exec "${WINNOW_PYTHON:-python3}" -c '
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=5).read()
' "http://${SPARK_LOCAL_IP:-$(hostname)}:$port/$path"
