#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, every test, Schemathesis, generated clients and a browser on the mall that they built, the
# files that deploy it, the instructions of a request, half a minute of fuzzing. Ends with one line that adds up what the runners said; to
# Schemathesis an operation is one test.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp)
trap 'rm -f "$out"' EXIT
# What can't be had here says so in a line that begins with SKIPPED.
bash deploy/services/services.sh install 2>&1 | tee "$out"
bash deploy/services/services.sh install-tools 2>&1 | tee -a "$out"

everything=(--locked --workspace --features commit-log/kafka,standalone/kafka,standalone/glommio,standalone/may,bench/figures,bench/search,bench/versus)
cargo fmt --all --check
cargo clippy "${everything[@]}" --all-targets -- -D warnings
status=0
cargo test "${everything[@]}" --no-fail-fast 2>&1 | tee -a "$out" || status=$?
bash tests/schemathesis/run.sh 2>&1 | tee -a "$out" || status=1
bash tests/default/run.sh 2>&1 | tee -a "$out" || status=1
bash tests/browser/run.sh 2>&1 | tee -a "$out" || status=1
bash deploy/check.sh 2>&1 | tee -a "$out" || status=1
bash bench/instructions.sh 2>&1 | tee -a "$out" || status=1
bash deploy/fuzz.sh 2>&1 | tee -a "$out" || status=1

skips=$(grep -c '^SKIPPED' "$out" || true)
if [ "$skips" -gt 0 ]; then
    grep '^SKIPPED' "$out"
    if [ -n "${CI:-}" ]; then
        echo "$skips skipped: every test runs here" >&2
        status=1
    fi
fi
awk '/^test result:/ { passed += $4; failed += $6 }
    /^(schemathesis|clients|default|browser|deploy|instructions|fuzz): [0-9]+ passed/ { passed += $2; failed += $4 }
    END { printf "all: %d passed, %d failed\n", passed, failed }' "$out"
exit "$status"
