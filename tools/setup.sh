#!/bin/sh
# Set up the virtual environment: sh tools/setup.sh DIR [extra arguments of uv pip install]
#
# Plain `torch` brings several GB of CUDA that this project never uses. Where pip is configured with
# a find-links folder that carries a CPU build of torch, that one is taken; elsewhere uv picks the
# CPU build itself.
set -eu
venv=$1
shift
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: promptwell needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Set PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

links=$("$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/.*find-links='\(.*\)'$/\1/p" | head -n 1)
if [ -n "$links" ] && ls "$links"/torch-*.whl >/dev/null 2>&1; then
    torch=$(ls "$links"/torch-*.whl | sed -n 's/.*torch-\([0-9][0-9.]*\).*/\1/p' | tail -n 1)
    UV_FIND_LINKS=$links
    export UV_FIND_LINKS
    echo "torch==$torch" >"$venv/constraints.txt"
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --constraint "$venv/constraints.txt" --editable . "$@"
else
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --torch-backend cpu --editable . "$@"
fi
