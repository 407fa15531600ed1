#!/bin/sh
# Set up the virtual environment: sh tools/setup.sh DIR [extra arguments of uv pip install]
#
# Plain `torch` brings several GB of CUDA that this project never uses. Where pip is configured with
# a find-links folder that carries a CPU build of torch, that one is taken; elsewhere uv picks the
# CPU build itself. uv does not read pip's configuration: what matters of it is handed on.
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

pip_setting() {
    "$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/^[^=]*[.]$1='\(.*\)'$/\1/p" | head -n 1
}

[ -n "${SSL_CERT_FILE:-}" ] || { cert=$(pip_setting cert); [ -z "$cert" ] || export SSL_CERT_FILE="$cert"; }
[ -n "${UV_DEFAULT_INDEX:-}" ] || { index=$(pip_setting index-url); [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"; }

links=$(pip_setting find-links)
if [ -n "$links" ] && ls "$links"/torch-*.whl >/dev/null 2>&1; then
    torch=$(ls "$links"/torch-*.whl | sed -n 's/.*torch-\([0-9][0-9.]*\).*/\1/p' | tail -n 1)
    export UV_FIND_LINKS="$links"
    echo "torch==$torch" >"$venv/constraints.txt"
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --constraint "$venv/constraints.txt" --editable . "$@"
else
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --torch-backend cpu --editable . "$@"
fi
