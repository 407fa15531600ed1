#!/bin/sh
# Set up the environment of the peers: sh bench/peers/setup.sh [DIR], default .venv-bench
#
# torch is taken as tools/setup.sh takes it: the CPU build, from pip's find-links folder where there is one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../.venv-bench}
python=${PYTHON:-python3}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo '*' >"$venv/.gitignore"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

install() {
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "$@" --requirement "$here/requirements.txt"
}

links=$("$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/.*find-links='\(.*\)'$/\1/p" | head -n 1)
if [ -n "$links" ] && ls "$links"/torch-*.whl >/dev/null 2>&1; then
    torch=$(ls "$links"/torch-*.whl | sed -n 's/.*torch-\([0-9][0-9.]*\).*/\1/p' | tail -n 1)
    UV_FIND_LINKS=$links
    export UV_FIND_LINKS
    echo "torch==$torch" >"$venv/constraints.txt"
    install --constraint "$venv/constraints.txt"
else
    install --torch-backend cpu
fi
