#!/usr/bin/env bash
# start_aggregator.sh: run one aggregator instance in the background, and wait until it serves.
#
#   scripts/start_aggregator.sh NAME INSTANCE [TENANT [OPTION OF `zconnector aggregator` ...]]
#
# NAME is the logical name all instances share (agg1), INSTANCE tells them apart (a, b, c), TENANT is
# `dev` where it is not said. At its first start it needs an enrolment: in ZCONNECTOR_ENROLMENT, or made
# by the cluster member that scripts/start_cluster.sh started. State, pid files and logs are in
# $ZCONNECTOR_HOME (default: ./state). If it runs already, nothing happens.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 2 ] || { usage >&2 && exit 2; }
name="$1" instance="$2" tenant="${3:-dev}"
shift "$(($# < 3 ? $# : 3))"

setup
make_home
component="aggregator-$name-$instance"
command=("$PYTHON" -m zconnector aggregator --state-dir "$HOME_DIR/aggregator/$name-$instance"
    --bind "$(endpoint_of "$component")" --log-level info "$@")
if is_running "$component" || [ -f "$HOME_DIR/aggregator/$name-$instance/enrolment" ]; then
    start_component "$component" 30 "${command[@]}" </dev/null
else
    secret="$(enrolment aggregator --tenant "$tenant" --name "$name" --instance "$instance")"
    start_component "$component" 30 "${command[@]}" --enrolment-file - <<<"$secret"
fi
