#!/usr/bin/env bash
# The program that `make run` builds, which has none of the optional features: generated clients go through it, and each setting
# that needs a feature is refused with the feature's name. Ends with one line: default: N passed, M failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
target=${CARGO_TARGET_DIR:-target}
START_MAX_S=60

begun=$SECONDS
cargo build --locked --quiet --profile quick -p standalone
echo "built in $((SECONDS - begun)) s, some of it perhaps earlier"
mall=$(cd "$target/quick" && pwd)/mall
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

# Starts the mall with a setting, which it must refuse by the setting's key and the feature.
refuses() {
    local key=$1 status=0
    shift
    env -i MALL_DATA_DIR="$dir/data" MALL_LOG__LEVEL=error MALL_GATEWAY__LISTEN=127.0.0.1:0 MALL_ORDER_CORE__LISTEN=127.0.0.1:0 \
        MALL_ADMIN__LISTEN=127.0.0.1:0 MALL_METRICS__LISTEN=off "$@" timeout "$START_MAX_S" "$mall" >"$dir/out" 2>&1 || status=$?
    if [ "$status" = 1 ] && grep -q "$key: .*--features kafka" "$dir/out"; then
        passed=$((passed + 1))
        echo "ok $key is refused"
    else
        failed=$((failed + 1))
        echo "FAILED $key: status $status" && tail -5 "$dir/out"
    fi
}

# Nothing listens on port 1.
refuses redis.url MALL_REDIS__URL=redis://127.0.0.1:1
refuses kafka.brokers MALL_REDIS__URL=redis://127.0.0.1:1 MALL_KAFKA__BROKERS=127.0.0.1:1
refuses database.url MALL_DATABASE__URL=mysql://mall:mall@127.0.0.1:1/mall
refuses search.url MALL_SEARCH__URL=http://127.0.0.1:1
if MALL=$mall bash tests/clients/run.sh >"$dir/clients"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi
cat "$dir/clients"
echo "default: $passed passed, $failed failed"
[ "$failed" = 0 ]
