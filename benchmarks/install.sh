#!/usr/bin/env bash
# Size of an install with each extra, and what its imports cost; docs/install.md.
#
#   benchmarks/install.sh FOLDER [EXTRA …]     base and every extra, without any named
#
# Makes FOLDER/EXTRA, a fresh environment each; one that is there is measured as it is.
# Prints MB of the environment, MB more than the base, and CPU seconds (user and system,
# the least of three runs) of the imports that what needs the extra begins with.
# pip's variables apply (PIP_INDEX_URL, PIP_FIND_LINKS for a CPU build of torch, …).
set -euo pipefail

folder=${1:?usage: install.sh FOLDER [EXTRA …]}
shift
[ $# -gt 0 ] || set -- base delta ui spark images filters all
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

declare -A imports=(
  [base]="winnow.lake.scan, winnow.flows.runner"
  [delta]="deltalake"
  [ui]="winnow.app.serve"
  [spark]="pyspark.sql"
  [images]="torch, open_clip"
  [filters]="winnow.filters.train.run, torch, open_clip"
  [all]="winnow"
)

install() {
  local venv=$1 extra=$2 wheel
  "$python" -m venv "$venv"
  case $extra in
    images | filters | all)
      "$venv/bin/python" -m pip install --quiet -c "$root/constraints.txt" torch ;;
  esac
  "$venv/bin/python" -m pip wheel --quiet --no-deps -w "$venv/wheel" "$root"
  wheel=$(ls "$venv"/wheel/*.whl)
  [ "$extra" = base ] || wheel+="[$extra]"
  "$venv/bin/python" -m pip install --quiet -c "$root/constraints.txt" "$wheel"
  rm -r "$venv/wheel"
}

# CPU seconds of a command, the least of three runs after one that fills the caches.
seconds() {
  local TIMEFORMAT='%U %S' best=999 took
  "$@" >/dev/null || return
  for _ in 1 2 3; do
    took=$({ time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ printf "%.2f", $1 + $2 }')
    best=$(printf '%s\n%s\n' "$best" "$took" | sort -g | head -1)
  done
  echo "$best"
}

base=
echo '| extra | MB | more | imports | CPU s |'
echo '|---|---|---|---|---|'
for extra in "$@"; do
  venv=$folder/$extra
  [ -x "$venv/bin/python" ] || install "$venv" "$extra"
  size=$(du -sm "$venv" | cut -f1)
  [ "$extra" = base ] && base=$size
  code="import ${imports[$extra]}"
  # What open_clip needs before it can be imported (winnow/models/torchvision_ops.py).
  case $extra in
    images | filters)
      code="from winnow.models.torchvision_ops import ensure_torchvision as ensure
ensure(); $code" ;;
  esac
  took=$(cd "$folder" && seconds "$venv/bin/python" -c "$code")
  echo "| $extra | $size | ${base:+$((size - base))} | ${imports[$extra]} | $took |"
done
took=$(cd "$folder" && seconds "$folder/$1/bin/winnow" --help)
echo "| | | | winnow --help | $took |"
