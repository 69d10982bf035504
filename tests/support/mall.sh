# For the test scripts in bash: starts a mall in a new directory, on free ports, and stops it at the end of the script.
# Source it; it needs `set -euo pipefail` and bash.

START_MAX_S=120

stop_mall() {
    [ -z "${mall:-}" ] || { kill "$mall" && wait "$mall"; } 2>/dev/null || true
    rm -rf "$dir"
}

# start_mall PROGRAM PASSWORD [NAME=VALUE ...]: PASSWORD is the one of the first admin, the rest are further settings. Sets
# `mall` (the process), `dir` (a directory that the end of the script removes), and the addresses `gateway`, `shop` and `admin`.
start_mall() {
    local program=$1 password=$2
    shift 2
    dir=$(mktemp -d) && : >"$dir/out"
    trap stop_mall EXIT
    env -i MALL_DATA_DIR="$dir/data" MALL_AUTH__BCRYPT_COST=4 MALL_ADMIN_PASSWORD="$password" MALL_LOG__LEVEL=error \
        MALL_GATEWAY__LISTEN=127.0.0.1:0 MALL_ORDER_CORE__LISTEN=127.0.0.1:0 MALL_ADMIN__LISTEN=127.0.0.1:0 \
        "$@" "$program" >>"$dir/out" 2>"$dir/errors" &
    mall=$!
    local tries=$((START_MAX_S * 10))
    until [ "$(grep -c 'http://' "$dir/out")" -ge 4 ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 "$mall" || { cat "$dir/out" "$dir/errors" >&2; exit 1; }
        sleep 0.1
    done
    { read -r _; read -r gateway; read -r shop; read -r admin; } < <(grep -o 'http://[0-9.:]*' "$dir/out")
}
