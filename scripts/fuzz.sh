#!/usr/bin/env bash
# fuzz.sh: feed everything that reads what others wrote with hostile input, longer than the test suite does.
#
#   scripts/fuzz.sh [--times N] [--first-seed S] [PYTEST OPTION OR PATH ...]
#
# N times as many examples as in the suite (50 unless said), from seed S on; tests/fuzz unless a path is given.
# What hypothesis finds is printed with the line that replays it, other tests name their seed. See
# docs/hostile-input.md.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export ZCONNECTOR_SOAK=1
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --times) [ $# -gt 1 ] || die "--times needs a number" && export ZCONNECTOR_FUZZ_TIMES="$2" && shift 2 ;;
        --first-seed) [ $# -gt 1 ] || die "--first-seed needs a number" && export ZCONNECTOR_FUZZ_SEED="$2" && shift 2 ;;
        *) break ;;
    esac
done

setup
cd "$ROOT"
[ $# -gt 0 ] || set -- tests/fuzz
exec "$PYTHON" -m pytest -q --timeout 3600 "$@"
