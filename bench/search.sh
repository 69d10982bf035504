#!/usr/bin/env bash
# Search over 100,000 generated products next to a running mall, on the embedded index and on Elasticsearch: how long the index
# takes to build, searches and suggestions at 200 a second, memory and size. Then the judged queries, 10,000 changes with three kills
# of the worker, and the canary at 500 changes a second. About 15 minutes after the build. All that is printed is also kept as a record of the
# run, in search-long/ of cargo's target directory.
#
#   PRODUCTS=10000 SECONDS_EACH=5 bench/search.sh     a smaller run
#   CHANGES=0 bench/search.sh                         without the kills and the canary
set -euo pipefail
cd "$(dirname "$0")/.."

products=${PRODUCTS:-100000}
seconds=${SECONDS_EACH:-20}
changes=${CHANGES:-10000}
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
mall_pid= elastic_pid=
stop() {
    local pid
    for pid in $mall_pid $elastic_pid; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT

cargo build --locked --profile quick -p standalone -p bench --features standalone/kafka,bench/search
mall=$target/quick/mall bench=$target/quick/bench
export MALL_GATEWAY__LISTEN=127.0.0.1:18180 MALL_ORDER_CORE__LISTEN=127.0.0.1:18181 MALL_ADMIN__LISTEN=127.0.0.1:18182
export MALL_LOG__LEVEL=warn MALL_LIMITS__READ_MAX=0 MALL_ORDER_CORE__CONNECTIONS_PER_CLIENT_MAX=1024
order_core=http://127.0.0.1:18181

# mib FIELD: of the mall's process.
mib() {
    awk -v field="$1:" '$1 == field { print int($2 / 1024) }' "/proc/$mall_pid/status"
}

# measure NAME DATA_DIR: a mall on DATA_DIR, which it builds an index for; searches it and stops it.
measure() {
    local data=$2 began
    export MALL_DATA_DIR=$data
    "$mall" migrate >/dev/null
    "$bench" catalogue --data-dir "$data" --products "$products" >/dev/null
    echo "== $1, $products products"
    began=$(date +%s%N)
    "$mall" run >"$work/mall.out" 2>"$work/mall.err" &
    mall_pid=$!
    until curl -fsS "$order_core/api/v1/search?q=a" >/dev/null 2>&1; do
        kill -0 "$mall_pid" || { cat "$work/mall.err" >&2; exit 1; }
        sleep 0.2
    done
    echo "ready after $((($(date +%s%N) - began) / 1000000)) ms, with the index built"
    "$mall" search verify 2>/dev/null
    "$bench" search --order-core "$order_core" --rate 200 --duration "${seconds}s" || true
    "$bench" search --order-core "$order_core" --rate 200 --duration "${seconds}s" --facets || true
    "$bench" search --order-core "$order_core" --rate 200 --duration "${seconds}s" --suggest || true
    echo "memory of the mall: $(mib VmRSS) MiB"
    # The peak from here on.
    echo 5 >"/proc/$mall_pid/clear_refs"
    began=$(date +%s%N)
    "$mall" search rebuild --verify 2>/dev/null
    echo "built again and compared in $((($(date +%s%N) - began) / 1000000)) ms"
    echo "memory of the mall: at most $(mib VmHWM) MiB meanwhile"
}

end() {
    kill "$mall_pid" && wait "$mall_pid" || true
    mall_pid=
}

mkdir -p "$target/search-long"
record=$target/search-long/$(date -u +%Y%m%dT%H%M%SZ).txt
exec > >(tee "$record") 2>&1
echo "record of the run: $record"
echo "commit $(git describe --always --dirty 2>/dev/null || echo unknown), $(date -u +%FT%TZ)"
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //; s/$/, '"$(nproc)"' processors/'
uptime
measure "embedded index" "$work/embedded"
echo "the index on disk: $(du -sm "$work/embedded/search" | cut -f1) MiB"
end

if bash deploy/services/services.sh verified elasticsearch; then
    port=19311
    bash deploy/services/services.sh start elasticsearch "$work/elasticsearch" "$port" >"$work/elasticsearch.out" 2>&1 &
    elastic_pid=$!
    until curl -fsS "http://127.0.0.1:$port/_cluster/health?wait_for_status=yellow&timeout=1s" >/dev/null 2>&1; do
        kill -0 "$elastic_pid" || { tail -3 "$work/elasticsearch.out" >&2; exit 1; }
        sleep 0.5
    done
    export MALL_SEARCH__URL=http://127.0.0.1:$port
    measure "Elasticsearch" "$work/elastic"
    bytes=$(curl -fsS "http://127.0.0.1:$port/mall-products/_stats/store?filter_path=_all.total.store.size_in_bytes" | tr -cd 0-9)
    echo "the index on disk: $((bytes >> 20)) MiB"
    end
    kill "$elastic_pid" && wait "$elastic_pid" || true
    elastic_pid=
    unset MALL_SEARCH__URL
else
    echo "SKIPPED elasticsearch: its jars are not installed; run deploy/services/services.sh install"
fi

echo "== generated queries on both indexes, judged"
SEARCH_JUDGED_PRODUCTS=$products cargo test --locked --profile quick -p search --features elastic --test judged \
    -- --nocapture --test-threads=1 2>&1 | grep -E '^seed [0-9]+: |^test |panicked|^SKIPPED'

[ "$changes" = 0 ] && exit
echo "== $changes changes with kills, and the canary"
unset "${!MALL_@}"
MALL_TEST_PROGRAM=$(realpath "$mall")
export MALL_TEST_PROGRAM MALL_TEST_SEARCH_CHANGES=$changes MALL_TEST_SEARCH_CANARY_RATE=500
everything=(--locked --workspace --features commit-log/kafka,standalone/kafka,standalone/glommio,standalone/may,bench/figures,bench/search,bench/versus)
began=$(date +%s)
cargo test "${everything[@]}" --test mall -- --nocapture --test-threads=1 \
    changes_are_found_soon search_worker rebuilds_the_index 2>&1 | grep -E '^test |^canary|panicked|^SKIPPED'
echo "all of these tests, with their build: $(($(date +%s) - began)) s"
