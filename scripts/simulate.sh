#!/usr/bin/env bash
# simulate.sh: run the whole system in simulated worlds, each from one seed, and judge what happened.
#
#   scripts/simulate.sh [--seeds N] [--first-seed S] [--minutes M] [--jobs J] [--json]
#   scripts/simulate.sh --seed N [--minutes M] [--watch TEXT]    one world; with a transcript if it fails
#   scripts/simulate.sh --hunt [--mutant NAME]                   find a failing seed for each planted bug
#   scripts/simulate.sh --versions [--seeds N] [--seed N]        small worlds of worker versions
#   scripts/simulate.sh --speed                                  measure, on the standard topology without faults
#   scripts/simulate.sh --help
#
# The real cores, queue and codec; virtual clocks, network, disks, processes, workers. See docs/simulation.md.
# Exit status 0 only if no promise was broken (with --hunt: if every planted bug was found).

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
cd "$ROOT"
exec "$PYTHON" tests/simulation/simulate.py "$@"
