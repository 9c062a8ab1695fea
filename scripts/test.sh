#!/usr/bin/env bash
# Makes the environment if there is none, then runs ruff, mypy and pytest.
#
#   scripts/test.sh                  all but the slow tests and those against peers
#   scripts/test.sh --slow           the slow ones too
#   scripts/test.sh --parity         those against transformers and PyTorch alone, which
#                                    it installs into .venv-peers
#   scripts/test.sh --lowest         pytest with the lowest version of every dependency that
#                                    pyproject.toml allows, in .venv-lowest
#   scripts/test.sh tests/batches/test_packing.py -k edge
#                                    pytest alone and at once: what follows goes to it.
#                                    After any of the three above, too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

selection="not slow and not parity" venv=.venv check=true
case "${1:-}" in
  --slow) selection="not parity" && shift ;;
  --parity)
    selection="parity" && shift
    VENV=.venv-peers make_environment requirements-peers.txt
    export ELECTRA_TF_PEER_PYTHON="$PWD/.venv-peers/bin/python"
    ;;
  --lowest) venv=.venv-lowest check=false && shift ;;
esac

if [[ $venv == .venv ]]; then
  make_environment requirements.txt requirements-dev.txt
else
  VENV=$venv make_environment requirements-lowest.txt requirements-dev.txt
fi
# Tests that are named run here and now; all of them, side by side.
if (($#)); then
  exec "$venv/bin/python" -m pytest -m "$selection" "$@"
fi
if $check; then
  .venv/bin/ruff check --output-format concise
  .venv/bin/ruff format --check
  .venv/bin/mypy
fi
exec "$venv/bin/python" -m pytest -m "$selection" -n 2 --dist loadscope --no-loadscope-reorder
