#!/usr/bin/env bash
# chaos.sh: torment the processes of a topology while traffic goes on, then judge what clients and workers saw.
#
#   scripts/chaos.sh [--minutes M] [--seed S] [--faults A,B,...] [--partitions auto|namespaces|proxy]
#                    [--no-versions] [--state-dir DIR]
#   scripts/chaos.sh --list-faults
#
# Three aggregator instances, two connectors with a gRPC front end and two workers each, one cluster member;
# clients send commands and events both ways all the time. A third connector runs worker versions from a repository, which
# an operator publishes, updates, rolls back, starts and stops. The seed decides what is done to whom, and when.
# At the end a table, and as the last line a JSON object, say what was injected, how long recovery took,
# which promises were checked how often, and which goals were met. Exit status 0 only if every promise was
# kept and every goal met.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
cd "$ROOT"
run=("$PYTHON" tests/chaos/chaos.py "$@")
# In a mount namespace of its own, where that is allowed, the small disks vanish with the run, however it ends.
if unshare --mount true 2>/dev/null; then run=(unshare --mount "${run[@]}"); fi
exec "${run[@]}"
