#!/usr/bin/env bash
# bench.sh: speed of the whole path, through real processes, beside a bare pyzmq echo of the same minute.
#
#   scripts/bench.sh [--seconds S] [--help]
#
# Prints JSON lines: commands per second with 64 in flight, round trip with 1 in flight (p50, p99), and
# the echo's figures for comparison.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
cd "$ROOT"
exec "$PYTHON" tests/benchmarks/bench_path.py "$@"
