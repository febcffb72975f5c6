#!/usr/bin/env bash
# start_cluster.sh: run the cluster member in the background, and wait until it serves.
#
#   scripts/start_cluster.sh [OPTION OF `zconnector cluster` ...]
#
# State, pid files and logs are in $ZCONNECTOR_HOME (default: ./state). Its port is chosen once, unless
# --bind says otherwise. If it runs already, nothing happens. End it with scripts/stop.sh.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac

setup
make_home
start_component cluster 30 "$PYTHON" -m zconnector cluster --state-dir "$HOME_DIR/cluster" \
    --bind "$(endpoint_of cluster)" --log-level info "$@" </dev/null
