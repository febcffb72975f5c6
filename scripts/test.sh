#!/usr/bin/env bash
# test.sh: everything that must hold before a change goes in; sets itself up on a fresh clone.
#
#   scripts/test.sh [PYTEST OPTION OR PATH ...]
#
# Lint, format, types, layering, freshness of generated code, then the tests (unit, contract, integration,
# a short chaos run). All checks run even if an early one fails; the end says which failed.
# With arguments only pytest runs, with these.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac

exec </dev/null
setup
cd "$ROOT"
BIN="$VENV/bin"
failed=()

check() {
    local name="$1" begun=$SECONDS
    shift
    say ""
    say "== $name"
    if "$@"; then
        say "-- $name: passed ($((SECONDS - begun)) s)"
    else
        say "-- $name: FAILED ($((SECONDS - begun)) s)"
        failed+=("$name")
    fi
}

generated_code_is_fresh() {
    local fresh status=0
    fresh="$(mktemp -d)"
    PYTHON="$PYTHON" scripts/generate.sh "$fresh" && diff -r -x __pycache__ "$fresh" zconnector/rpc/_gen || status=1
    rm -rf "$fresh"
    [ "$status" = 0 ] || say "zconnector/rpc/_gen is not what protos/ says: run scripts/generate.sh"
    return "$status"
}

if [ $# -gt 0 ]; then
    exec "$PYTHON" -m pytest "$@"
fi

check "ruff check" "$BIN/ruff" check zconnector tests scripts
check "ruff format" "$BIN/ruff" format --check zconnector tests scripts
check "mypy" "$BIN/mypy"
check "layering" "$BIN/lint-imports"
check "generated code" generated_code_is_fresh

check "tests that compute" \
    "$PYTHON" -m pytest -q -n "$(nproc)" --dist worksteal --ignore tests/integration --ignore tests/chaos
# Whole files side by side, one more than processors: each mostly waits for a process to be up, or gone. What watches
# times to the tenth of a second is among the quiet ones.
check "tests with real processes" \
    "$PYTHON" -m pytest -q -m "not quiet" -n "$(($(nproc) + 1))" --dist loadfile tests/integration tests/chaos
check "tests that need the machine to themselves" "$PYTHON" -m pytest -q -m quiet

say ""
if [ ${#failed[@]} -gt 0 ]; then
    for name in "${failed[@]}"; do say "FAILED: $name"; done
    exit 1
fi
say "all checks passed in $SECONDS s"
