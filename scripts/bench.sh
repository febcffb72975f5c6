#!/usr/bin/env bash
# bench.sh: measure the speed of the whole system, beside peers of the same minute.
#
#   scripts/bench.sh [--quick] [--only NAME[,NAME]] [--out DIR] [--seconds S] [--turns N]
#   scripts/bench.sh --help
#
# Real processes, durable and encrypted as in production. Writes JSON lines and a chart (SVG, PNG) into DIR
# (build/bench), prints a table, and as its last line a JSON object. Installs what it needs (matplotlib, NATS
# and its server, py-spy) into .venv the first time.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
cd "$ROOT"
if ! "$PYTHON" -c 'import matplotlib, nats' 2>/dev/null || [ ! -x "$VENV/bin/nats-server" ] ||
    [ ! -x "$VENV/bin/py-spy" ]; then
    say "installing what the benches need into $VENV (once)"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -e "${ROOT}[bench]" </dev/null >&2 ||
        die "pip install failed"
fi
exec "$PYTHON" tests/benchmarks/bench.py "$@"
