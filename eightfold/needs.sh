#!/bin/sh
# Makes sure that programs are there which pip cannot install: by apt-get where rights allow, else in words.
#
#   needs.sh python PYTHON     Python 3.11 or newer that can make virtual environments
#   needs.sh simulator PYTHON  Icarus Verilog, and Python as the shared library that cocotb loads into it
set -eu
what=$1
python=$2

fail() {
    echo "eightfold: error: $1" >&2
    exit 2
}

install() {
    if ! command -v apt-get >/dev/null; then
        fail "please install: $*"
    elif [ "$(id -u)" -eq 0 ]; then
        as_root="env"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        fail "please install, as an administrator: apt-get install $*"
    fi
    echo "installing $*"
    log=$(mktemp)
    if ! { $as_root apt-get update && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1
    then
        last=$(tail -n 1 "$log")
        rm -f "$log"
        fail "apt-get install $* failed: $last"
    fi
    rm -f "$log"
}

case $what in
python)
    command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11 or newer, or name one: make PYTHON=python3.12"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is Python $version; 3.11 or newer was expected. Name one: make PYTHON=python3.12"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install "python$version-venv"
    ;;
simulator)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    set --
    command -v iverilog >/dev/null && command -v vvp >/dev/null || set -- "$@" iverilog
    "$python" -c 'import sys, find_libpython as f; sys.exit(f.find_libpython() is None)' || set -- "$@" "libpython$version"
    [ $# -eq 0 ] || install "$@"
    ;;
*)
    fail "needs.sh knows python and simulator, not $what"
    ;;
esac
