#!/bin/sh
# Make .venv hold the locked dependencies and this project: with uv when it is on PATH, else with venv and pip.
#
# Does nothing when .venv is up to date, starts over when an earlier run was cut short, and waits for one that is still
# running. PYTHON=python3.12 chooses the interpreter of a new .venv.
set -eu
cd "$(dirname "$0")/.."

root=$(pwd -P)
venv=.venv
stamp=$venv/.installed       # line 1: where .venv was made (its scripts hold absolute paths); line 2: the inputs it was made from
unfinished=$venv/.installing # process id of the run that is filling .venv

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

inputs() { cat pyproject.toml uv.lock requirements-dev.txt scripts/setup.sh | cksum; }
recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
up_to_date() { [ -x $venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$root
$(inputs)" ]; }

# Whether the .venv on disk can be brought up to date. Contents, not time stamps, decide: a checkout changes the latter only.
reusable() {
    [ ! -e $unfinished ] || return 1
    recent_enough $venv/bin/python || return 1
    [ ! -e $stamp ] || [ "$(head -n 1 $stamp)" = "$root" ] || return 1
    [ -n "$uv" ] || $venv/bin/python -m pip --version >/dev/null 2>&1
}

# Print the first interpreter that is new enough and can make environments. A name on PATH may be a shim without a Python behind it.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi
    incomplete=
    for candidate; do
        recent_enough "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
        incomplete=${incomplete:-${candidate##*/}}
    done
    if [ -n "$incomplete" ]; then
        fail "$incomplete cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install" \
            "$incomplete-venv) or install uv (https://docs.astral.sh/uv/), then run this again"
    fi
    fail "no Python 3.11 or newer among: $*. Install one, name one with PYTHON=/path/to/python3, or install uv" \
        "(https://docs.astral.sh/uv/), which brings its own; then run this again"
}

wait_for_other_run() {
    other=$(cat $unfinished 2>/dev/null) && kill -0 "$other" 2>/dev/null || return 0
    say "waiting for process $other, which is filling $venv (if it does something else, remove $venv)"
    while kill -0 "$other" 2>/dev/null && [ -e $unfinished ]; do sleep 1; done
}

up_to_date && exit 0
wait_for_other_run
up_to_date && exit 0

# An activated .venv must neither provide the tools that rebuild it nor be mistaken for a system Python.
PATH=$(printf '%s' "$PATH" | tr : '\n' | grep -Fxv -e "$root/$venv/bin" -e "$PWD/$venv/bin" | paste -s -d : -)
unset VIRTUAL_ENV PYTHONHOME
uv=$(command -v uv || true)

if [ -e $venv ] && [ ! -w $venv ]; then
    fail "$root/$venv belongs to another user: remove it or run this as that user"
fi
python=
if ! reusable; then
    [ -n "$uv" ] || python=$(choose_python)
    rm -rf $venv
    mkdir $venv
fi
rm -f $stamp
echo $$ >$unfinished

if [ -n "$uv" ]; then
    say "installing the locked dependencies into $venv with uv"
    [ -w "${HOME:-/nonexistent}" ] || export UV_NO_CACHE=1 # accounts without a home have no place for a cache
    export UV_PROJECT_ENVIRONMENT=$venv
    [ -e $venv/pyvenv.cfg ] || "$uv" venv --quiet --allow-existing --python "${PYTHON:->=3.11}" $venv
    "$uv" sync --quiet --frozen --extra all --group dev
else
    [ -z "$python" ] || "$python" -m venv $venv
    say "installing the locked dependencies into $venv with pip; the first time takes a minute or two"
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements-dev.txt
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
fi

{ echo "$root"; inputs; } >$venv/.installed.new
mv $venv/.installed.new $stamp
rm -f $unfinished
