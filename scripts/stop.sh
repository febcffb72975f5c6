#!/usr/bin/env bash
# stop.sh: end what the start_*.sh scripts started: workers, then connectors, aggregators, the cluster.
#
#   scripts/stop.sh [NAME ...]
#
# Without a NAME: everything in $ZCONNECTOR_HOME (default: ./state). A NAME is that of its pid file, for
# instance connector-git. Each gets SIGTERM and five seconds to drain, then SIGKILL. What does not run is
# no error.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac

# Wait for the process of a pid file to end: `tail --pid` returns when it has.
stop_one() {
    local name="$1" pid
    if is_running "$name"; then
        pid="$(cut -d ' ' -f 1 "$(pid_file "$name")")"
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
        if ! timeout 5 tail --pid="$pid" -s 0.05 -f /dev/null && is_running "$name"; then
            say "$name does not end: SIGKILL"
            kill -KILL "$pid" 2>/dev/null || true
            timeout 5 tail --pid="$pid" -s 0.05 -f /dev/null || die "$name (pid $pid) survives SIGKILL"
        fi
        say "$name has ended"
    fi
    rm -f "$(pid_file "$name")"
}

if [ $# -gt 0 ]; then
    for name in "$@"; do
        [ -f "$(pid_file "$name")" ] || say "$name does not run"
        stop_one "$name"
    done
    exit 0
fi
for role in worker connector aggregator cluster; do
    for file in "$HOME_DIR"/run/"$role"*.pid; do
        [ -e "$file" ] || continue
        name="${file##*/}"
        stop_one "${name%.pid}"
    done
done
