#!/usr/bin/env bash
# Instructions of the gateway's core for one request of each kind, the ledger in memory included, as callgrind counts
# them: the same on every machine and every run. Fails where one is more than 3 % above bench/instructions.txt;
# UPDATE=1 rewrites that file.
set -euo pipefail
cd "$(dirname "$0")/.."

COMMITTED=bench/instructions.txt
ABOVE_PERCENT_MAX=3
FEW=16
MANY=116
REQUESTS=$(((MANY - FEW) * 64))
command -v valgrind >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null

cargo build --locked --quiet --profile quick -p gateway-core --example count
count=${CARGO_TARGET_DIR:-target}/quick/examples/count

# Instructions of $2 rounds of $1.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$count" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

found=$(mktemp)
trap 'rm -f "$found"' EXIT
for kind in accepted sold_out limited unknown time; do
    few=$(instructions $kind $FEW)
    many=$(instructions $kind $MANY)
    echo "$kind $(((many - few) / REQUESTS))" >>"$found"
done
if [ -n "${UPDATE:-}" ]; then
    { echo "# Instructions a request, by $(rustc --version | cut -d ' ' -f 1,2), profile quick; bench/instructions.sh"; cat "$found"; } >"$COMMITTED"
    cat "$COMMITTED"
    exit 0
fi
awk -v above="$ABOVE_PERCENT_MAX" '
    NR == FNR { if ($1 != "#") committed[$1] = $2; next }
    { change = ($2 / committed[$1] - 1) * 100
      good = $1 in committed && change <= above
      printf "%-10s %6d instructions a request, committed %6d (%+.1f %%)%s\n", $1, $2, committed[$1], change, good ? "" : " TOO MANY"
      if (good) passed++; else failed++ }
    END { printf "instructions: %d passed, %d failed\n", passed, failed; exit failed > 0 }' "$COMMITTED" "$found"
