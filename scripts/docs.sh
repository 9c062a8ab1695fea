#!/usr/bin/env bash
# Builds the documentation as a site into site/; a link that leads nowhere is an error.
#
#   scripts/docs.sh            then open site/index.html
#   scripts/docs.sh serve      shows it at http://127.0.0.1:8000, anew after each change
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment requirements.txt requirements-dev.txt
export NO_MKDOCS_2_WARNING=1 # MkDocs stays at the version that is pinned.
case "${1:-build}" in
  build) .venv/bin/python -m mkdocs build --strict ;;
  serve) .venv/bin/python -m mkdocs serve ;;
  *) stop "scripts/docs.sh $1: want build or serve" ;;
esac
