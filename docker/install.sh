#!/usr/bin/env bash
# Install Winnow and some of its extras at the tested versions into an environment.
#
#   install.sh VENV WHEEL CONSTRAINTS
#
#   WINNOW_EXTRAS   of docs/install.md, by commas (default: images,spark); "" for none
#
# The image is made by this script, and the tests run it. An environment that is there
# is kept, and so is a torch in it that satisfies the pin. pip's own variables apply
# (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL for a CPU build of torch, PIP_NO_INDEX, …).
set -euo pipefail

extras=${WINNOW_EXTRAS-images,spark}
venv=${1:?usage: install.sh VENV WHEEL CONSTRAINTS}
wheel=${2:?usage: install.sh VENV WHEEL CONSTRAINTS}
constraints=${3:?usage: install.sh VENV WHEEL CONSTRAINTS}

[ -x "$venv/bin/python" ] || "${WINNOW_PYTHON:-python3}" -m venv "$venv"
case ,$extras, in
  *,images,* | *,filters,* | *,all,*)
    "$venv/bin/python" -m pip install --quiet --constraint "$constraints" torch
    ;;
esac
"$venv/bin/python" -m pip install --quiet --constraint "$constraints" \
  "$wheel${extras:+[$extras]}"
"$venv/bin/winnow" --version
