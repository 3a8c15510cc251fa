#!/bin/sh
# Installs what a lock file pins into a virtual environment: install.sh PYTHON VENV LOCK
set -eu
python=$1 venv=$2 lock=$3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Decant needs Python 3.11 or newer; $("$python" --version) was found. Set PYTHON=/path/to/python3." >&2
    exit 1
}
if [ ! -x "$venv/bin/python" ]; then
    echo "Creating $venv …"
    # Debian keeps ensurepip in a package of its own.
    if ! "$python" -m venv "$venv" 2>/dev/null; then
        rm -rf "$venv"
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "Installing python3-venv …"
            { apt-get update -qq && apt-get install -y -qq python3-venv; } >/dev/null
            "$python" -m venv "$venv"
        else
            echo "Python's venv module is incomplete here: apt-get install python3-venv, then try again." >&2
            exit 1
        fi
    fi
fi
echo "Installing what $lock pins …"
# The lock holds everything, so nothing is resolved; each file is checked against its hash.
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --use-pep517 -r "$lock"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
