#!/usr/bin/env bash
# What an accepted reservation costs gateway and Redis on the processor, beside one EVALSHA a reservation in
# the same run. Redis and the gateway share one core; client, Kafka, MariaDB, order-core and admin have the
# other. ROUNDS=n interleaved rounds (3), RESERVATIONS=n in each (30000).
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}
RESERVATIONS=${RESERVATIONS:-30000}
command -v taskset >/dev/null || { echo "measure: no taskset (package util-linux) here" >&2; exit 1; }

cargo build --locked --profile quick -p bench --features bench/figures
bench=${CARGO_TARGET_DIR:-target}/quick/bench
export MALL_GATEWAY__THREADS=1 MALL_GATEWAY__CONNECTIONS_PER_CLIENT_MAX=20000 MALL_GATEWAY__USER_RATE_PER_S=0 MALL_LOG__LEVEL=warn
out=$(mktemp)
bash deploy/run-full.sh >"$out" 2>&1 &
full=$!
trap 'kill $full 2>/dev/null; wait $full 2>/dev/null || true; rm -f "$out"' EXIT
until grep -q 'The mall is ready' "$out"; do
    kill -0 $full 2>/dev/null || { cat "$out" >&2; exit 1; }
    sleep 0.2
done

child() { pgrep -P "$full" -f "mall $1( |\$)" | head -n 1; }
gateway=$(child gateway)
redis=$(sed -n 's/^redis: .*pid //p' "$out")
for pid in $(child order-core) $(child admin) $(sed -n 's/^\(kafka\|mariadb\): .*pid //p' "$out"); do
    taskset -acp 1 "$pid" >/dev/null
done
taskset -acp 0 "$gateway" >/dev/null
taskset -acp 0 "$redis" >/dev/null
redis_url=$(sed -n 's/^MALL_REDIS__URL=//p' "$out")

for ((round = 1; round <= ROUNDS; round++)); do
    for connections in 64 512; do
        echo "--- round $round, $connections connections"
        taskset -c 1 "$bench" sale --users "$RESERVATIONS" --stock "$RESERVATIONS" --repeat-every 0 \
            --connections "$connections" --cpu "gateway=$gateway,redis=$redis" 2>/dev/null |
            grep -E '^(sale|reservations/s |cpu|     of it|I[0-9])'
        for shape in "--connections $connections" "--connections 1 --pipeline $connections"; do
            # shellcheck disable=SC2086 # two options
            taskset -c 1 "$bench" evalsha --redis "$redis_url" --requests "$RESERVATIONS" $shape --cpu "redis=$redis" |
                grep -E '^(evalsha|reservations/s|cpu)'
        done
    done
done
