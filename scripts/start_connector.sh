#!/usr/bin/env bash
# start_connector.sh: run a connector in the background, and wait until it serves workers.
#
#   scripts/start_connector.sh NAME TYPE [AGGREGATOR [TENANT [OPTION OF `zconnector connector` ...]]]
#
# For instance: scripts/start_connector.sh git Git. AGGREGATOR (default: agg1) is the logical name of
# the aggregator it connects to; its instances must run when the connector is first declared. At its
# first start it needs an enrolment: in ZCONNECTOR_ENROLMENT, or made by the cluster member that
# scripts/start_cluster.sh started. State, pid files and logs are in $ZCONNECTOR_HOME (default: ./state).
# If it runs already, nothing happens.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 2 ] || { usage >&2 && exit 2; }
name="$1" type="$2" aggregator="${3:-agg1}" tenant="${4:-dev}"
shift "$(($# < 4 ? $# : 4))"

setup
make_home
component="connector-$name"
command=("$PYTHON" -m zconnector connector --state-dir "$HOME_DIR/connector/$name" --log-level info "$@")
if is_running "$component" || [ -f "$HOME_DIR/connector/$name/enrolment" ]; then
    start_component "$component" 30 "${command[@]}" </dev/null
else
    secret="$(enrolment connector --tenant "$tenant" --name "$name" --type "$type" --aggregator "$aggregator")"
    start_component "$component" 30 "${command[@]}" --enrolment-file - <<<"$secret"
fi
