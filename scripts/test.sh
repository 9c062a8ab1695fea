#!/usr/bin/env bash
# Makes the environment if there is none, then runs ruff, mypy and pytest.
#
#   scripts/test.sh                  all but the slow tests and those against peers
#   scripts/test.sh --slow           the slow ones too
#   scripts/test.sh --parity         those against transformers and PyTorch alone, which
#                                    it installs into .venv-peers
#   scripts/test.sh --lowest         pytest with the lowest version of every dependency that
#                                    pyproject.toml allows, in .venv-lowest
#   scripts/test.sh tests/batches/test_packing.py -k edge    the rest goes to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

selection="not slow and not parity"
case "${1:-}" in
  --slow) selection="not parity" && shift ;;
  --parity)
    selection="parity" && shift
    VENV=.venv-peers make_environment requirements-peers.txt
    export ELECTRA_TF_PEER_PYTHON="$PWD/.venv-peers/bin/python"
    ;;
  --lowest)
    shift
    VENV=.venv-lowest make_environment requirements-lowest.txt requirements-dev.txt
    exec .venv-lowest/bin/python -m pytest -n 2 --dist loadscope -m "$selection" "$@"
    ;;
esac

make_environment requirements.txt requirements-dev.txt
.venv/bin/ruff check --output-format concise
.venv/bin/ruff format --check
.venv/bin/mypy
.venv/bin/python -m pytest -n 2 --dist loadscope -m "$selection" "$@"
