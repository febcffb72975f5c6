#!/usr/bin/env bash
# chaos.sh: kill, freeze and restart the processes of a topology at random while traffic goes on, then check
# a ledger kept outside the system.
#
#   scripts/chaos.sh [--minutes M] [--seed S] [--help]
#
# Three aggregator instances, two connectors, one cluster member; clients send commands and events both
# ways all the time. The seed decides what is done to whom, and when. At the end a JSON line says what was
# injected, how long recovery took, and what the ledger shows. Exit status 0 only if every receipted
# command got its reply, every event arrived, and no completion was accepted twice.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
cd "$ROOT"
exec "$PYTHON" tests/chaos/chaos.py "$@"
