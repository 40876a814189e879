#!/usr/bin/env bash
# Run one role of a standalone Spark cluster in the foreground, from pip's pyspark.
#
#   spark.sh [master | worker | history]     without a role: $WINNOW_ROLE
#   spark.sh driver | executor …             what Kubernetes calls an image with
#
# The image and the tests start the cluster by this script, so what is tested is what
# is shipped. Settings are Spark's own variables where there are some:
#
#   WINNOW_PYTHON            a Python that has pyspark (default: python3 on the path)
#   SPARK_LOCAL_IP           address to listen on
#   SPARK_MASTER_PORT        port of the master, 0 for a free one (default: 7077)
#   SPARK_MASTER_WEBUI_PORT  its pages and REST (default: 8080)
#   SPARK_MASTER_URL         where workers find the master (spark://host:port)
#   SPARK_WORKER_CORES, SPARK_WORKER_MEMORY, SPARK_WORKER_DIR, SPARK_WORKER_WEBUI_PORT
#   SPARK_EVENTS             folder of event logs, for the history server
#   SPARK_HISTORY_PORT       its pages and REST (default: 18080)
set -euo pipefail

role=${1:-${WINNOW_ROLE:?usage: spark.sh master|worker|history}}
python=${WINNOW_PYTHON:-python3}

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
release=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
if ! [ "${release:-0}" -ge 17 ]; then
  echo "spark.sh: Spark needs Java 17 or newer ('$java -version' says" \
    "${release:-nothing}); install a JRE (Debian: openjdk-17-jre-headless)" \
    "or set JAVA_HOME" >&2
  exit 2
fi

SPARK_HOME=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
export SPARK_HOME
# What the cluster's Python workers are, unless an application names another.
export PYSPARK_PYTHON=${PYSPARK_PYTHON:-$(command -v "$python")}
address=${SPARK_LOCAL_IP:-$(hostname)}

deploy=org.apache.spark.deploy
case $role in
  master)
    exec "$SPARK_HOME/bin/spark-class" $deploy.master.Master --host "$address" \
      --port "${SPARK_MASTER_PORT:-7077}" --webui-port "${SPARK_MASTER_WEBUI_PORT:-8080}"
    ;;
  worker)
    exec "$SPARK_HOME/bin/spark-class" $deploy.worker.Worker --host "$address" \
      --webui-port "${SPARK_WORKER_WEBUI_PORT:-8081}" \
      "${SPARK_MASTER_URL:?spark://host:port of the master}"
    ;;
  history)
    : "${SPARK_EVENTS:?folder of event logs}"
    options="-Dspark.history.fs.logDirectory=file://$(cd "$SPARK_EVENTS" && pwd)"
    options+=" -Dspark.history.ui.port=${SPARK_HISTORY_PORT:-18080}"
    options+=" -Dspark.history.fs.update.interval=${SPARK_HISTORY_INTERVAL:-10s}"
    export SPARK_HISTORY_OPTS="$options ${SPARK_HISTORY_OPTS:-}"
    exec "$SPARK_HOME/bin/spark-class" $deploy.history.HistoryServer
    ;;
  driver)
    # spark.kubernetes.* passes a pod's address by these names.
    exec "$SPARK_HOME/bin/spark-submit" --deploy-mode client \
      --conf "spark.driver.bindAddress=${SPARK_DRIVER_BIND_ADDRESS:-$address}" "${@:2}"
    ;;
  executor)
    options=()
    while IFS= read -r name; do
      options+=("${!name}")
    done < <(compgen -e SPARK_JAVA_OPT_ | sort -t_ -k4n)
    exec "$java" "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" \
      "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "${SPARK_CLASSPATH:-}:$SPARK_HOME/jars/*" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" \
      --cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
      --hostname "$SPARK_EXECUTOR_POD_IP" --podName "$SPARK_EXECUTOR_POD_NAME" \
      --resourceProfileId "${SPARK_RESOURCE_PROFILE_ID:-0}"
    ;;
  *)
    echo "spark.sh: unknown role '$role'; known: master, worker, history, driver," \
      "executor" >&2
    exit 2
    ;;
esac
