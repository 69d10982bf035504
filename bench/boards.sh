#!/usr/bin/env bash
# What watching costs: a mall of its own, BOARDS live boards for SECONDS seconds, and the processor time of the process with
# and without them. The gateway's threads are counted apart. Says one line, and fails above MAX_PERCENT of a core.
#
#   BOARDS=50 SECONDS_WATCHED=600 bash bench/boards.sh [MALL]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
mall=${1:-${CARGO_TARGET_DIR:-$here/target}/quick/mall}
boards=${BOARDS:-50} seconds=${SECONDS_WATCHED:-600} most=${MAX_PERCENT:-5}
data=$(mktemp -d)
password=boards-admin-password
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
gateway=127.0.0.1:$(free_port) shop=127.0.0.1:$(free_port) admin=127.0.0.1:$(free_port)

env MALL_DATA_DIR="$data/data" MALL_ADMIN_PASSWORD=$password MALL_LOG__LEVEL=error MALL_AUTH__BCRYPT_COST=4 MALL_METRICS__LISTEN=off \
    MALL_GATEWAY__LISTEN="$gateway" MALL_ORDER_CORE__LISTEN="$shop" MALL_ADMIN__LISTEN="$admin" MALL_LIMITS__READ_MAX=0 "$mall" >"$data/out" &
process=$!
watchers=()
clean() {
    for watcher in "${watchers[@]}"; do kill "$watcher" 2>/dev/null || true; done
    kill "$process" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$data"
}
trap clean EXIT
for _ in $(seq 300); do
    ! curl -sf -o "$data/ready" "http://$gateway/readyz" || break
    sleep 0.2
done
api=http://$admin/admin/api/v1
token=$(curl -sf "$api/sessions" -H 'content-type: application/json' -d "{\"username\":\"admin\",\"password\":\"$password\"}" |
    sed 's/.*"access_token":"\([^"]*\)".*/\1/')
sales=$(curl -sf "$api/activities?limit=100" -H "authorization: Bearer $token" | grep -o '"activity_id":"[0-9]*"' | grep -o '[0-9]*')
[ -n "$sales" ] || { echo "boards: the mall has no sale"; exit 1; }

# Hundredths of a second that threads have run: of the gateway's, and of all others.
used() {
    local of=0 rest=0 name ticks
    for task in /proc/"$process"/task/*; do
        name=$(cat "$task/comm" 2>/dev/null) || continue
        ticks=$(sed 's/.*) //' "$task/stat" | awk '{ print $12 + $13 }')
        case $name in gateway-*) of=$((of + ticks)) ;; *) rest=$((rest + ticks)) ;; esac
    done
    echo "$of $rest"
}
span() { # seconds, then the hundredths of both kinds of threads
    read -r of_before rest_before < <(used)
    sleep "$1"
    read -r of rest < <(used)
    echo "$((of - of_before)) $((rest - rest_before))"
}

idle=30
read -r gateway_idle rest_idle < <(span $idle)
mapfile -t ids <<<"$sales"
for board in $(seq 0 $((boards - 1))); do
    # A stream ends after five minutes, as a browser's would, and begins again.
    (while curl -sN -o "$data/board$board" "$api/activities/${ids[board % ${#ids[@]}]}/live" -H "authorization: Bearer $token"; do :; done) &
    watchers+=($!)
done
sleep 5
read -r gateway_used rest_used < <(span "$seconds")
ticks=$(grep -c '^event: ticks' "$data/board0" || true)
awk -v boards="$boards" -v sales="${#ids[@]}" -v seconds="$seconds" -v idle=$idle -v most="$most" -v ticks="$ticks" \
    -v g0="$gateway_idle" -v r0="$rest_idle" -v g="$gateway_used" -v r="$rest_used" 'BEGIN {
    gateway = g / seconds - g0 / idle; rest = r / seconds - r0 / idle
    printf "boards: %d boards of %d sales for %d s: gateway %+.2f %% of a core, all others %+.2f %% (limit %s %%); %d ticks on the first board since its stream began\n",
        boards, sales, seconds, gateway, rest, most, ticks
    exit !(rest < most) }'
