#!/usr/bin/env bash
# Makes the environment if there is none, then runs ruff, mypy and pytest.
#
#   scripts/test.sh                  all but the slow tests and those against peers
#   scripts/test.sh --slow           all
#   scripts/test.sh tests/test_packing.py -k edge    the rest goes to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

selection=(-m "not slow and not parity")
if [[ "${1:-}" == --slow ]]; then
  selection=()
  shift
fi

make_environment requirements.txt requirements-dev.txt
.venv/bin/ruff check --output-format concise
.venv/bin/ruff format --check
.venv/bin/mypy
.venv/bin/python -m pytest -n 2 --dist loadscope ${selection[@]+"${selection[@]}"} "$@"
