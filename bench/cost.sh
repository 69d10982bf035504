#!/usr/bin/env bash
# What each kind of answer costs on the processor, beside two floors in the same run: nginx' `return 200` and a
# bare hyper. The server that is asked and Redis share one core; client, Kafka, MariaDB, order-core and admin have
# the other. ROUNDS=n (3), REQUESTS=n in a cell (30000), RUNTIMES="monoio glommio may" (those that are built in),
# ONLY=accepted,slow (the rows that `bench --help` names; all). PERF=1 has perf sample the first gateway and Redis
# meanwhile, which costs them a tenth or so, and tells where they were.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}
REQUESTS=${REQUESTS:-30000}
RUNTIMES=${RUNTIMES:-monoio glommio may}
NGINX_PORT=18089
HELLO_PORT=18088
command -v taskset >/dev/null || { echo "cost: no taskset (package util-linux) here" >&2; exit 1; }
ulimit -n "$(ulimit -H -n)"

# The limits are on, and nobody but the row that is about them meets one.
export MALL_GATEWAY__THREADS=1 MALL_GATEWAY__CONNECTIONS_PER_CLIENT_MAX=20000 MALL_LOG__LEVEL=warn
export MALL_GATEWAY__CLIENT_RATE_PER_S=1000000 MALL_GATEWAY__CLIENT_BURST=1000000
export MALL_GATEWAY__USER_RATE_PER_S=1 MALL_GATEWAY__USER_BURST=16
profile=${PROFILE:-fat}
export PROFILE=$profile
cargo build --locked --profile "$profile" -p bench --features bench/figures
bench=${CARGO_TARGET_DIR:-target}/$profile/bench

out=$(mktemp)
dir=$(mktemp -d)
pids=()
stop() {
    trap - EXIT INT TERM
    kill "${pids[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$out" "$dir"
}
trap stop EXIT
GATEWAYS=$(wc -w <<<"$RUNTIMES") RUNTIMES="$RUNTIMES" bash deploy/run-full.sh >"$out" 2>&1 &
full=$!
pids+=("$full")
until grep -q 'The mall is ready' "$out"; do
    kill -0 "$full" 2>/dev/null || { cat "$out" >&2; exit 1; }
    sleep 0.2
done

sed "s#@DIR@#$dir#g; s#@PORT@#$NGINX_PORT#g" bench/nginx.conf.in >"$dir/nginx.conf"
nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log" -g 'daemon off;' &
pids+=($!)
nginx=$!
until worker=$(pgrep -P "$nginx" | head -n 1) && [ -n "$worker" ]; do sleep 0.1; done
"$bench" hello --listen "127.0.0.1:$HELLO_PORT" &
pids+=($!)
hello=$!

child() { pgrep -P "$full" -f "mall $1( |\$)" | head -n 1; }
redis=$(sed -n 's/^redis: .*pid //p' "$out")
for pid in $(child order-core) $(child admin) $(sed -n 's/^\(kafka\|mariadb\): .*pid //p' "$out"); do
    taskset -acp 1 "$pid" >/dev/null
done
gateways=
while read -r runtime address pid; do
    taskset -acp 0 "$pid" >/dev/null
    gateways+=${gateways:+,}$runtime=http://$address=$pid
done < <(sed -n 's/^started: //p' "$out")
for pid in "$redis" "$worker" "$hello"; do taskset -acp 0 "$pid" >/dev/null; done

perf_data=$dir/perf.data
if [ -n "${PERF:-}" ]; then
    command -v perf >/dev/null || { echo "cost: no perf (package linux-perf) here" >&2; exit 1; }
    first=${gateways%%,*}
    perf record -q -F 5000 -g --no-inherit -o "$perf_data" -p "$redis,${first##*=}" &
    perf=$!
    pids+=("$perf")
fi
taskset -c 1 "$bench" cost --gateways "$gateways" --redis-pid "$redis" --rounds "$ROUNDS" --requests "$REQUESTS" \
    ${ONLY:+--only "$ONLY"} --floors "nginx=http://127.0.0.1:$NGINX_PORT=$worker,hyper=http://127.0.0.1:$HELLO_PORT=$hello"
if [ -n "${PERF:-}" ]; then
    kill -INT "$perf"
    wait "$perf" || true
    share() { perf report -i "$perf_data" -g none "$@" 2>/dev/null | grep -v '^#' | grep -v '^$' || true; }
    printf '\nby thread and where its code is from\n'
    share --no-children --sort comm,dso | head -n 20
    for thread in gateway-0 redis-server relay rdk:broker1; do
        printf '\n%s, by function, with what it calls\n' "$thread"
        share --children --comm "$thread" --sort sym | head -n 40
        printf '\n%s, by function alone\n' "$thread"
        share --no-children --comm "$thread" --sort sym | head -n 25
    done
fi
