#!/usr/bin/env bash
# Gateway, order-core and admin as processes of their own, on Redis, Kafka, MariaDB and Elasticsearch from services.sh.
# GATEWAYS=n runs n gateways, the second at port 8083 and so on; RUNTIMES="monoio glommio" gives each a runtime, in
# turn; PROFILE=p builds with another profile. nginx is in front of them all at FRONT_LISTEN. Ctrl-C ends the processes; the services
# stay until `make services-down`.
set -euo pipefail
cd "$(dirname "$0")/.."

GATEWAYS=${GATEWAYS:-1}
read -ra RUNTIMES <<<"${RUNTIMES:-monoio}"
PROFILE=${PROFILE:-quick}
START_MAX_S=60

bash deploy/services/services.sh install
# What begins with MALL_ has passwords, and is shown to nobody.
settings=$(bash deploy/services/services.sh up | tee >(grep -v '^MALL_' >&2) | grep '^MALL_')
# What is set already names other servers.
while IFS='=' read -r name value; do
    [ -n "${!name:-}" ] || export "$name=$value"
done <<<"$settings"

features=kafka
for runtime in "${RUNTIMES[@]}"; do
    [ "$runtime" = monoio ] || features+=,$runtime
done
cargo build --locked --profile "$PROFILE" -p standalone --features "$features"
mall=${CARGO_TARGET_DIR:-target}/$PROFILE/mall

pids=()
stop() {
    trap - EXIT INT TERM
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a service that the variable $2 makes listen at $3, with its metrics on port $4 and the arguments after it, and
# waits until it is ready. An answer at that address is not enough: another mall may have it, and ours may have ended.
begin() {
    local role=$1 tries=$((START_MAX_S * 10)) said
    said=$(mktemp)
    # In a session of its own: Ctrl-C reaches every process of the terminal, and `stop` would be its second signal.
    setsid env "$2=$3" "MALL_METRICS__LISTEN=127.0.0.1:$4" "$mall" "$role" "${@:5}" >"$said" &
    pids+=($!)
    until grep -q http:// "$said" && bash deploy/ready.sh "$3" 2>/dev/null && kill -0 "${pids[-1]}" 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            echo "run-full: $role is not ready at $3" >&2
            exit 1
        fi
        sleep 0.1
    done
    cat "$said" && rm "$said"
}

# The address of everything. Browsers know no other one, and order-core believes what nginx says of its clients.
front=${FRONT_LISTEN:-127.0.0.1:8000}
command -v nginx >/dev/null || { echo "run-full: there is no nginx; run deploy/services/services.sh install as root" >&2; exit 1; }
export MALL_WEB__GATEWAY_URL=${MALL_WEB__GATEWAY_URL-/} MALL_WEB__ORIGINS=${MALL_WEB__ORIGINS-http://$front}
export MALL_PUBLIC_URL=${MALL_PUBLIC_URL-http://$front} MALL_TRUSTED_PROXIES=${MALL_TRUSTED_PROXIES-127.0.0.0/8}

begin order-core MALL_ORDER_CORE__LISTEN "${MALL_ORDER_CORE__LISTEN:-127.0.0.1:8081}" 9465
begin admin MALL_ADMIN__LISTEN "${MALL_ADMIN__LISTEN:-127.0.0.1:8082}" 9466
first=${MALL_GATEWAY__LISTEN:-127.0.0.1:8080}
gateways=
for ((at = 1; at <= GATEWAYS; at++)); do
    # 8081 and 8082 are the others'.
    next=${first%:*}:$((${first##*:} + (at > 1 ? 1 + at : 0)))
    runtime=${RUNTIMES[$(((at - 1) % ${#RUNTIMES[@]}))]}
    # As with the ports above: 9465 and 9466 are the others'.
    begin gateway MALL_GATEWAY__LISTEN "$next" $((9464 + (at > 1 ? 1 + at : 0))) --runtime "$runtime"
    echo "started: $runtime $next ${pids[-1]}"
    gateways+=" $next"
done

# nginx in front of it all, as it is deployed: shop, APIs and sale on one origin.
front() {
    local dir=${MALL_DATA_DIR:-data}/front gateway
    rm -rf "$dir" && mkdir -p "$dir/conf.d" "$dir/logs" "$dir/tmp"
    cp nginx/nginx.conf "$dir/"
    cp nginx/conf.d/*.conf "$dir/conf.d/"
    # All shoppers of a trial come from one address.
    cp nginx/conf.d/limits-off.conf "$dir/conf.d/limits.conf"
    echo "listen $front;" >"$dir/conf.d/listen.conf"
    {
        echo "upstream gateways {"
        for gateway in $gateways; do echo "    server $gateway max_fails=2 fail_timeout=2s;"; done
        echo "    keepalive 64;"
        echo "}"
        echo "upstream order_core { server ${MALL_ORDER_CORE__LISTEN:-127.0.0.1:8081}; keepalive 64; }"
        echo "upstream admin { server ${MALL_ADMIN__LISTEN:-127.0.0.1:8082}; keepalive 4; }"
    } >"$dir/conf.d/upstreams.conf"
    MALL_WEB__GATEWAY_URL=/ "$mall" shop-assets "$dir/shop"
    local run='daemon off;'
    # Started by root, its workers would be a user who may not read the data directory.
    [ "$(id -u)" != 0 ] || run+=' user root;'
    setsid nginx -p "$dir" -c nginx.conf -e logs/error.log -g "$run" &
    pids+=($!)
    local tries=$((START_MAX_S * 10))
    until (exec 3<>"/dev/tcp/${front%:*}/${front##*:}") 2>/dev/null && kill -0 "${pids[-1]}" 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            echo "run-full: nginx does not answer at $front; see $dir/logs/error.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}
front

cat <<END

The mall is ready.
  shop        http://$front
  gateway     $(for gateway in $gateways; do printf 'http://%s ' "$gateway"; done)
  order-core  http://${MALL_ORDER_CORE__LISTEN:-127.0.0.1:8081}
  admin       http://${MALL_ADMIN__LISTEN:-127.0.0.1:8082}

The first admin is admin; the password is in ${MALL_DATA_DIR:-data}/admin-password unless MALL_ADMIN_PASSWORD is set.
Try: make sale ARGS="--front http://$front --gateway $(for gateway in $gateways; do printf 'http://%s,' "$gateway"; done | sed 's/,$//')"
END

# One that ends by itself ends the others.
wait -n
echo "run-full: a service ended" >&2
exit 1
