# Sourced by quickstart.sh and test.sh: puts requirement files into .venv, once each.
#
# Its folder `installed/` keeps a copy of each file that was installed; a file that differs
# from its copy is installed again, so an interrupted installation is simply resumed.

stop() {
  echo "error: $*" >&2
  exit 1
}

# Prints the first Python that TensorFlow 2.21 has a wheel for and that can make a venv.
find_python() {
  local python unfit=""
  for python in python3 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
      2>/dev/null || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$python"
      return
    fi
    unfit="$python"
  done
  [[ -z "$unfit" ]] || stop "$unfit cannot make an environment: install its venv" \
    "(Debian and Ubuntu: apt-get install python3-venv) and run this again"
  stop "TensorFlow 2.21 needs Python 3.11, 3.12 or 3.13, found" \
    "$(python3 --version 2>/dev/null || echo none): install one of them"
}

# Usage: make_environment FILE...      into .venv, or into the folder VENV
make_environment() {
  local venv="${VENV:-.venv}" python file
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
    rm -rf "$venv/installed"
  fi
  mkdir -p "$venv/installed"
  for file in "$@"; do
    cmp -s "$file" "$venv/installed/$file" && continue
    echo "Installing $file into $venv (a few minutes the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --requirement "$file"
    cp "$file" "$venv/installed/"
  done
}

# Installs the package itself, as it lies here: a change of the code needs nothing more.
install_package() {
  local venv="${VENV:-.venv}"
  cmp -s pyproject.toml "$venv/installed/pyproject.toml" && return
  echo "Installing electra_tf into $venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --editable .
  cp pyproject.toml "$venv/installed/"
}
