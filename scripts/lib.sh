# shellcheck shell=bash
# Shared by the scripts beside it: sourced, not run.
#
# Sets ROOT (the checkout), HOME_DIR ($ZCONNECTOR_HOME or ./state) and PYTHON (the interpreter of .venv
# after `setup`).

set -euo pipefail

# Some machines set it: then every process that starts would compile this package anew, for half a second.
unset PYTHONDONTWRITEBYTECODE

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
HOME_DIR="${ZCONNECTOR_HOME:-$ROOT/state}"
VENV="${ZCONNECTOR_VENV:-$ROOT/.venv}"
PYTHON="$VENV/bin/python"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# The usage text of a script is the comment at its top, up to the first empty line.
usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

find_python() {
    local candidate
    for candidate in ${ZCONNECTOR_PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "zconnector needs Python 3.11 or newer (set ZCONNECTOR_PYTHON to one)"
}

make_venv() {
    local python="$1"
    say "creating $VENV"
    "$python" -m venv "$VENV" >/dev/null 2>&1 && return
    # Debian ships Python without ensurepip.
    rm -rf "$VENV"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing python3-venv"
        apt-get update -qq >/dev/null && apt-get install -y -qq python3-venv >/dev/null || true
    fi
    "$python" -m venv "$VENV" || die "cannot create a virtual environment (install python3-venv)"
}

# Make .venv hold this checkout and what it needs; once for each version of setup.cfg and pyproject.toml.
setup() {
    local wanted stamp="$VENV/.zconnector-setup"
    wanted="$(cat "$ROOT/setup.cfg" "$ROOT/pyproject.toml" | sha256sum | cut -d ' ' -f 1)"
    mkdir -p "$(dirname "$VENV")"
    exec 9>"$VENV.lock"
    flock 9 # two scripts at once set up one after the other
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        [ -x "$PYTHON" ] || make_venv "$(find_python)"
        say "installing zconnector and its tools into $VENV (once)"
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -e "${ROOT}[dev]" </dev/null >&2 ||
            die "pip install failed"
        printf '%s\n' "$wanted" >"$stamp"
    fi
    exec 9>&-
}

zconnector() { "$PYTHON" -m zconnector "$@"; }

# --- components run in the background, each with DIR/NAME.pid, DIR/NAME.log below HOME_DIR ------------

pid_file() { printf '%s/run/%s.pid\n' "$HOME_DIR" "$1"; }
log_file() { printf '%s/logs/%s.log\n' "$HOME_DIR" "$1"; }

# A process's start time (in clock ticks since boot): with the pid it names one process for ever. Nothing for
# one that has ended and whose parent does not look (a container without an init).
birth() { sed -n 's/.*) //; /^Z/!p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

is_running() {
    local pid born
    read -r pid born 2>/dev/null <"$(pid_file "$1")" || return 1
    [ -n "${born:-}" ] && [ "$(birth "$pid")" = "$born" ]
}

show_log_and_die() {
    say "error: $1; the end of $(log_file "$2"):"
    tail -n 20 "$(log_file "$2")" | sed 's/^/    /' >&2
    exit 1
}

# start_component NAME READY_SECONDS COMMAND...: run it in the background and return when it says that it is
# ready; nothing happens if it runs already. Standard input reaches the component.
start_component() {
    local name="$1" seconds="$2"
    shift 2
    if is_running "$name"; then
        say "$name runs already (pid $(cut -d ' ' -f 1 "$(pid_file "$name")"))"
        return
    fi
    if ! "$PYTHON" "$ROOT/scripts/spawn.py" --ready-within "$seconds" --pid-file "$(pid_file "$name")" \
        --log "$(log_file "$name")" -- "$@"; then
        say "error: $name did not become ready; the end of $(log_file "$name"):"
        tail -n 20 "$(log_file "$name")" | sed 's/^/    /' >&2
        exit 1
    fi
    say "$name is ready (pid $(cut -d ' ' -f 1 "$(pid_file "$name")"), log $(log_file "$name"))"
}

# The same for a worker, which says that it is ready in its log.
start_worker() {
    local name="$1" log offset pid
    shift
    if is_running "$name"; then
        say "$name runs already (pid $(cut -d ' ' -f 1 "$(pid_file "$name")"))"
        return
    fi
    log="$(log_file "$name")"
    touch "$log"
    offset="$(($(wc -c <"$log") + 1))"
    "$PYTHON" "$ROOT/scripts/spawn.py" --ready-within 0 --pid-file "$(pid_file "$name")" --log "$log" -- "$@"
    pid="$(cut -d ' ' -f 1 "$(pid_file "$name")")"
    # tail ends with the worker, grep with the line.
    if ! grep -q -m 1 'worker\.registered' < <(timeout 20 tail -c "+$offset" -s 0.1 --pid="$pid" -f "$log"); then
        kill -KILL "$pid" 2>/dev/null || true
        rm -f "$(pid_file "$name")"
        say "error: $name did not register; the end of $log:"
        tail -n 20 "$log" | sed 's/^/    /' >&2
        exit 1
    fi
    say "$name is registered (pid $pid, log $log)"
}

# The endpoint of a component: chosen once, then always the same.
endpoint_of() {
    local file="$HOME_DIR/run/$1.endpoint"
    if [ ! -f "$file" ]; then
        "$PYTHON" -c 'from zconnector.cli.topology import free_endpoint; print(free_endpoint())' >"$file.tmp"
        mv "$file.tmp" "$file"
    fi
    cat "$file"
}

make_home() {
    mkdir -p "$HOME_DIR/run" "$HOME_DIR/logs"
    chmod 700 "$HOME_DIR"
}

# The enrolment of a component, on stdout: what the operator gave in ZCONNECTOR_ENROLMENT, or made by the
# cluster member of this directory. Arguments: those of `zconnector secret create`.
enrolment() {
    if [ -n "${ZCONNECTOR_ENROLMENT:-}" ]; then
        printf '%s\n' "$ZCONNECTOR_ENROLMENT"
    else
        is_running cluster ||
            die "no enrolment: set ZCONNECTOR_ENROLMENT, or start the cluster member first (scripts/start_cluster.sh)"
        zconnector secret create "$@" --state-dir "$HOME_DIR/cluster"
    fi
}
