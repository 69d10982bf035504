#!/usr/bin/env bash
# This mall on its three runtimes next to other ways to sell a limited stock, in turns on this machine; bench/baselines has the programs. Server and
# stores share one core, the load client has another one. ROUNDS=n (3); other options of `bench versus` can be given. Ten minutes at most after
# the build. Leaves compare.html and compare.json in target.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-quick}
target=${CARGO_TARGET_DIR:-target}
command -v taskset >/dev/null || { echo "compare: no taskset (package util-linux) here" >&2; exit 1; }
ulimit -n "$(ulimit -H -n)"
cargo build --locked --profile "$profile" -p standalone -p bench -p baselines --features standalone/glommio,standalone/may,bench/versus
exec taskset -c 1 "$target/$profile/bench" versus --mall "$target/$profile/mall" --baseline "$target/$profile/baseline" \
    --rounds "${ROUNDS:-3}" --html "$target/compare.html" --json "$target/compare.json" "$@"
