#!/usr/bin/env bash
# Run what the container was started with; Kubernetes names only a role.
set -euo pipefail

case ${1:-} in
  driver | executor) exec tini -s -- spark.sh "$@" ;;
  *) exec tini -- "$@" ;;
esac
