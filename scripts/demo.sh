#!/usr/bin/env bash
# demo.sh: see zconnector work, on a fresh clone: sets everything up, then runs `zconnector demo`.
#
#   scripts/demo.sh [OPTION OF `zconnector demo` ...]
#
# Workers on two connectors exchange commands and events while two of three aggregator instances are
# killed. The last line is a JSON object; exit status 0 only if nothing was lost.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
exec "$PYTHON" -m zconnector demo "$@"
