#!/bin/sh
# Make .venv hold the locked dependencies and this project: with uv when it is on PATH, else with venv and pip.
#
# `setup.sh running` installs what the program needs to run, `setup.sh` also what developers need. Does nothing when .venv
# is up to date, starts over when an earlier run was cut short, and waits for one that is still at work. PYTHON=python3.12
# chooses the interpreter of a new .venv.
set -eu
cd "$(dirname "$0")/.."

root=$(pwd -P)
venv=.venv
stamp=$venv/.installed       # where .venv was made (its scripts hold absolute paths), from which inputs, and for what; a line each
unfinished=$venv/.installing # process id of the run that is filling .venv

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

inputs() { cat pyproject.toml uv.lock requirements.txt requirements-dev.txt scripts/setup.sh | cksum; }
recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
made_for() { sed -n 3p $stamp 2>/dev/null; }
up_to_date() {
    [ -x $venv/bin/python ] && [ "$(head -n 2 $stamp 2>/dev/null)" = "$root
$(inputs)" ] && case $(made_for) in development | "$purpose") ;; *) return 1 ;; esac
}

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

# Install what a file pins. A terminal sees how far that is; pip's own output has several lines per package.
pip_install() {
    pip="$venv/bin/python -m pip install --disable-pip-version-check --require-hashes --no-deps --requirement $1"
    if [ ! -t 2 ]; then
        $pip --quiet
        return
    fi
    unfinished_pip=$({ $pip 3>&- || echo yes >&3; } 3>&1 | awk -v total="$(grep -c '^[a-z]' "$1")" '
        /^Collecting/ { printf "\rsetup: %d of %d packages", ++seen, total >"/dev/stderr" }
        /^Installing/ { printf "\nsetup: installing them\n" >"/dev/stderr" }
        /^yes$/')
    [ -z "$unfinished_pip" ] || fail "pip could not install all of $1: see above, then run this again"
}

wait_for_other_run() {
    other=$(cat $unfinished 2>/dev/null) && kill -0 "$other" 2>/dev/null || return 0
    say "waiting for process $other, which is filling $venv (if it does something else, remove $venv)"
    while kill -0 "$other" 2>/dev/null && [ -e $unfinished ]; do sleep 1; done
}

purpose=${1:-development}
case $purpose in running | development) ;; *) fail "for running or for development? Not for $purpose" ;; esac
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
# What was made for development stays that way.
[ "$(made_for)" != development ] || purpose=development
case $purpose in
    running) pins=requirements.txt groups=--no-dev ;;
    development) pins=requirements-dev.txt groups="--group dev" ;;
esac
rm -f $stamp
echo $$ >$unfinished

if [ -n "$uv" ]; then
    say "installing the locked dependencies for $purpose into $venv with uv"
    [ -w "${HOME:-/nonexistent}" ] || export UV_NO_CACHE=1 # accounts without a home have no place for a cache
    export UV_PROJECT_ENVIRONMENT=$venv
    [ -e $venv/pyvenv.cfg ] || "$uv" venv --quiet --allow-existing --python "${PYTHON:->=3.11}" $venv
    test -t 2 && quiet= || quiet=--quiet
    # shellcheck disable=SC2086 # options are words
    "$uv" sync $quiet --frozen --extra all $groups
else
    say "installing the locked dependencies for $purpose into $venv with pip"
    [ -z "$python" ] || "$python" -m venv $venv
    pip_install $pins
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
fi

{ echo "$root"; inputs; echo $purpose; } >$venv/.installed.new
mv $venv/.installed.new $stamp
rm -f $unfinished
