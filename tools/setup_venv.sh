#!/usr/bin/env bash
# Makes .venv hold the pinned environment and the package as this tree has it now; quick when it already does.
# PYTHON=/path/to/python chooses the interpreter, otherwise it is that of .venv, else the first of python3, python3.12,
# python3.11 that fits.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

stop() {
  echo "set-up: $*" >&2
  exit 1
}

# Sets $python to the base interpreter behind $1, or $missing to what it lacks.
try_python() {
  local found version
  command -v "$1" >/dev/null || { missing="there is no $1"; return 1; }
  found=$("$1" -c 'import os, sys; print("%d.%d" % sys.version_info[:2], os.path.realpath(sys._base_executable))' \
    2>/dev/null) || { missing="$1 does not run"; return 1; }
  version=${found%% *} python=${found#* }
  case $version in
    3.11 | 3.12) ;;
    *) missing="$1 is Python $version"; return 1 ;;
  esac
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    { missing="$python has no venv module (Debian, Ubuntu: apt install python$version-venv)"; return 1; }
  [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
    { missing="$python has no Python.h (Debian, Ubuntu: apt install python$version-dev)"; return 1; }
}

find_python() {
  local candidate reasons=
  for candidate in "${candidates[@]}"; do
    try_python "$candidate" && return
    reasons+="; $missing"
  done
  stop "Python 3.11 or 3.12 with venv and headers is needed${reasons}"
}

# Runs the command with its output in a log, one line of it at a time on a terminal; shows the end on failure.
logged() {
  local log=.venv/setup.log
  if [ -t 1 ]; then
    "$@" 2>&1 | tee "$log" | awk '{ printf "\r\033[K  %.100s", $0; fflush() } END { printf "\r\033[K" }'
  else
    "$@" >"$log" 2>&1
  fi || { tail -n 20 "$log" >&2; stop "failed, the whole output is in $log"; }
}

# One number for the content of files and folders, some of which may not exist.
digest() {
  { find "$@" -name __pycache__ -prune -o -type f -print0 2>/dev/null || true; } |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

candidates=(python3 python3.12 python3.11)
if [ -x .venv/bin/python ]; then candidates=(.venv/bin/python "${candidates[@]}"); fi
if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
case $PWD in *[:\;\$]*) stop "rename this folder: venv, setuptools and CMake cannot take ':', ';' or '\$' in $PWD" ;; esac
command -v g++ >/dev/null || stop "g++ is needed to compile the messages (Debian, Ubuntu: apt install g++)"
exec {lock}<. && flock "$lock" # two set-ups of one folder wait for each other
find_python

environment="$PWD $python $("$python" --version) $("$python" tools/requirements.py | cat - constraints.txt | sha256sum)"
if [ "$(cat .venv/environment 2>/dev/null)" != "$environment" ]; then
  echo "set-up: installing the pinned packages into .venv for $("$python" --version): some minutes, once"
  rm -rf .venv build
  "$python" -m venv .venv
  "$python" tools/requirements.py >.venv/requirements.txt
  logged .venv/bin/python -m pip install --no-color --progress-bar off -r .venv/requirements.txt -c constraints.txt
  echo "$environment" >.venv/environment
fi

package=$(digest CMakeLists.txt LICENSE cmake config launch msg package.xml pyproject.toml setup.py subpx_ros third_party)
if [ "$(cat .venv/package 2>/dev/null)" != "$package" ]; then
  echo "set-up: building and installing subpx_ros into .venv"
  rm -f .venv/package
  # cmake and ninja come from .venv too.
  PATH="$PWD/.venv/bin:$PATH" logged .venv/bin/python -m pip install --no-color --no-deps --no-build-isolation --no-index .
  echo "$package" >.venv/package
fi
