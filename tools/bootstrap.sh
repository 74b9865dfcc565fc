#!/bin/sh
# Makes the virtual environment and installs this project into it.
#
#   sh tools/bootstrap.sh VENV EXTRAS      e.g.  sh tools/bootstrap.sh .venv test
#
# Needs a Python >= 3.10 with either ensurepip (Debian and Ubuntu: package python3-venv) or pip
# (package python3-pip). Only pip fetches anything, with its own configuration: PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, pip.conf. PYTHON names the interpreter to use.
set -eu

venv=$1
extras=$2
candidates=${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "bootstrap: $*"
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }
has_module() { "$1" -c "import $2" >/dev/null 2>&1; }
is_usable() { is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

# The ordinary way.
make_with_ensurepip() { has_module "$1" ensurepip && "$1" -m venv --clear "$venv" >/dev/null 2>&1; }

# Debian without python3-venv: pip itself puts a pip into an environment that has none. The
# copy in a folder of its own is allowed also where the system's Python is externally managed.
make_with_pip() {
    has_module "$1" pip || return 1
    "$1" -m venv --clear --without-pip "$venv" || return 1
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore \
        "$1" -m pip install --quiet --target "$venv/first_pip" pip || return 1
    PYTHONPATH=$venv/first_pip "$venv/bin/python" -m pip install --quiet --ignore-installed pip || return 1
    rm -rf "$venv/first_pip"
}

make_environment() {
    tried=
    for python in $candidates; do
        is_new_enough "$python" || continue
        tried="$tried $python"
        say "Making $venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
        if make_with_ensurepip "$python" || make_with_pip "$python"; then
            return
        fi
    done
    [ -n "$tried" ] || fail "no Python >= 3.10 among: $candidates. Install one (Debian, Ubuntu:" \
        "apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3 ..."
    fail "no environment with a pip in it could be made with:$tried. Install python3-venv or python3-pip" \
        "(Debian, Ubuntu: apt install python3-venv); if pip said above that it cannot fetch," \
        "see its configuration (python3 -m pip config list)."
}

is_usable || make_environment
is_usable || fail "$venv/bin/python does not start; remove $venv and try again"

quiet=--quiet
[ -t 2 ] && quiet=
say "Installing into $venv: skysift[$extras] (the first time this fetches some 200 MB)"
# shellcheck disable=SC2086  # no word at all when there is a terminal to watch
PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --disable-pip-version-check $quiet \
    --editable ".[$extras]" ||
    fail "pip could not install the dependencies above. It fetches from where it is configured to" \
        "($venv/bin/python -m pip config list); behind a proxy or without a network, point it to a" \
        "mirror or a folder of wheels with PIP_INDEX_URL or PIP_FIND_LINKS, and run make again."
