#!/usr/bin/env bash
# start_worker.sh: run a worker file on a connector in the background, and wait until it is registered.
#
#   scripts/start_worker.sh CONNECTOR FILE.py [NAME]
#
# CONNECTOR is the NAME that scripts/start_connector.sh was given; FILE.py uses zconnector.worker (see the
# README). NAME (default: the file's name) stands for the worker where it listens to events. State, pid
# files and logs are in $ZCONNECTOR_HOME (default: ./state). If it runs already, nothing happens.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 2 ] && [ $# -le 3 ] || { usage >&2 && exit 2; }
connector="$1" file="$2" name="${3:-$(basename "$2" .py)}"
[ -f "$file" ] || die "no such worker file: $file"

setup
make_home
is_running "connector-$connector" || die "connector $connector does not run: scripts/start_connector.sh $connector TYPE"
address="$(zconnector status --state-dir "$HOME_DIR/connector/$connector" --json |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["grpc"])')"
export ZCONNECTOR_LOG_LEVEL="${ZCONNECTOR_LOG_LEVEL:-info}"
start_worker "worker-$connector-$name" "$PYTHON" "$file" "$name" 10000 "$address" </dev/null
