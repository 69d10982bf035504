#!/usr/bin/env bash
# Fuzzes the gateway's core from the committed corpus for SECONDS_MAX seconds (30). A fault leaves its input in
# target/fuzz and ends with 1. KEEP=1 adds to the corpus what reached something new. The corpus is one packed file.
#
# The flags are those of `cargo fuzz run --sanitizer none`, which works here too; they need no nightly compiler, and there is
# no unsafe code for a sanitizer to watch.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_MAX=${SECONDS_MAX:-30}
fuzz=gateway/core/fuzz
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
target=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
RUSTFLAGS=$flags CARGO_TARGET_DIR=$out cargo build --locked --quiet --release --target "$target" \
    --manifest-path "$fuzz/Cargo.toml"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
corpus=$scratch/corpus
new=$scratch/new
mkdir "$corpus" "$new"
python3 "$fuzz/corpus.py" unpack "$fuzz/connection.pack" "$corpus"
if "$out/$target/release/connection" "$new" "$corpus" -dict="$fuzz/connection.dict" -max_len=4096 \
    -max_total_time="$SECONDS_MAX" -artifact_prefix="$out/" -print_final_stats=1 >"$log" 2>&1; then
    grep -E '^(Done|stat::new_units_added)' "$log"
    if [ -n "${KEEP:-}" ]; then
        cp "$new"/* "$corpus" 2>/dev/null || true
        python3 "$fuzz/corpus.py" pack "$corpus" "$fuzz/connection.pack"
    fi
    echo "fuzz: 1 passed, 0 failed"
else
    tail -n 40 "$log"
    echo "fuzz: 0 passed, 1 failed"
    exit 1
fi
