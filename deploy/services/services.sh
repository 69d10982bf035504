#!/usr/bin/env bash
# Redis, MariaDB, nginx, Kafka and Elasticsearch: the real ones, private, on loopback.
#
#   services.sh install           what is missing, from Debian and Maven Central; also Prometheus, which only tests run, and
#                                 the headers of OpenSSL, which the feature `kafka` is built with
#   services.sh install-tools     JMeter, k6 and Jaeger, from Maven Central and the Go proxy
#   services.sh up | down         starts what is not running; stops what `up` started
#   services.sh status            what listens where
#   services.sh start NAME DIR PORT     one of them, with its data in DIR, in the foreground; kafka takes a file of
#                                       more settings, and a user who signs in with SCRAM
#   services.sh verified NAME           whether its jars are here and are the listed ones
#
# A part that can't be had is a line that begins with SKIPPED; the others go on.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
root=$target/services
jars=$root/jars
mkdir -p "$jars" && root=$(cd "$root" && pwd) && jars=$root/jars

names=(redis mariadb kafka elasticsearch nginx)
declare -A port=(
    [redis]=${REDIS_PORT:-16379} [mariadb]=${MARIADB_PORT:-13306} [kafka]=${KAFKA_PORT:-19092}
    [elasticsearch]=${ELASTICSEARCH_PORT:-19200} [nginx]=${NGINX_PORT:-18080}
)
declare -A program=([redis]=redis-server [mariadb]=mariadbd [nginx]=nginx [kafka]=java [elasticsearch]=java)
declare -A package=(
    [redis]=redis-server [mariadb]=mariadb-server [nginx]="nginx libnginx-mod-http-lua lua-nginx-redis"
    [kafka]=openjdk-17-jre-headless [elasticsearch]=openjdk-17-jdk-headless
)
START_MAX_S=60

# The password of $1, made at random when it is first asked for.
secret() {
    local file=$root/passwords/$1
    [ -s "$file" ] || (umask 077 && mkdir -p "${file%/*}" && head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$file")
    cat "$file"
}

skipped() { echo "SKIPPED $1: $2"; }
has() { command -v "$1" >/dev/null; }

# --- install ---------------------------------------------------------------------------------------

apt_install() {
    local line="apt-get install -y --no-install-recommends $*"
    if ! has apt-get; then echo "there is no apt-get here; install $* by hand" >&2; return 1; fi
    if [ "$(id -u)" != 0 ]; then echo "as root: $line" >&2; return 1; fi
    # Nothing starts by being installed: every server here is private.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' RETURN
    fi
    local log=$root/apt.log
    { apt-get update && DEBIAN_FRONTEND=noninteractive $line; } >"$log" 2>&1 || { tail -3 "$log" >&2; return 1; }
}

# Whether every jar of the list is there, and is the one that was listed.
verified() { (cd "$jars/$1" 2>/dev/null && sha256sum --quiet -c "$here/$1/jars.sha256") >/dev/null 2>&1; }

fetch_jars() {
    verified "$1" && return 0
    has mvn || apt_install maven || return 1
    rm -rf "${jars:?}/$1.new"
    mvn -q -B -C -f "$here/$1/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$jars/$1.new" >"$root/mvn.log" 2>&1 || { tail -3 "$root/mvn.log" >&2; return 1; }
    rm -rf "${jars:?}/$1" && mv "$jars/$1.new" "$jars/$1"
    verified "$1" || { echo "the jars are not the ones in deploy/services/$1/jars.sha256" >&2; return 1; }
}

install() {
    local missing=() name
    for name in "${names[@]}"; do
        # shellcheck disable=SC2206 # several packages
        has "${program[$name]}" || missing+=(${package[$name]})
    done
    has prometheus && has promtool || missing+=(prometheus)
    # The feature `kafka` is built with the TLS of the system.
    [ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev pkg-config)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    for name in kafka elasticsearch; do
        fetch_jars "$name" || skipped "$name" "its jars can't be had"
    done
    for name in "${names[@]}"; do
        has "${program[$name]}" || skipped "$name" "there is no ${program[$name]}"
    done
    has promtool || skipped prometheus "there is no promtool"
}

# JMeter and k6, which make load, and Jaeger: minutes of compiling, and only tests run them.
install_tools() {
    if [ ! -x "$root/tools/k6" ] && { ! has go || ! GOBIN=$root/tools go install go.k6.io/k6@v1.8.1 >"$root/k6.log" 2>&1; }; then
        skipped k6 "it can't be built here; it needs Go and the Go proxy"
    fi
    # Later versions have replace directives, which `go install` refuses.
    local jaeger=github.com/jaegertracing/jaeger/cmd/all-in-one@v1.42.0
    if [ ! -x "$root/tools/all-in-one" ] && { ! has go || ! GOBIN=$root/tools go install "$jaeger" >"$root/jaeger.log" 2>&1; }; then
        skipped jaeger "it can't be built here; it needs Go and the Go proxy"
    fi
    if ! fetch_jars jmeter; then
        skipped jmeter "its jars can't be had"
        return
    fi
    local home=$root/tools/jmeter jar
    mkdir -p "$home/bin" "$home/lib/ext" "$home/lib/junit"
    # JMeter finds its parts by where they are.
    for jar in "$jars"/jmeter/*.jar; do
        case ${jar##*/} in
        ApacheJMeter_config-*) (cd "$home" && jar xf "$jar" bin) || unzip -qo "$jar" 'bin/*' -d "$home" ;;
        ApacheJMeter-*) cp "$jar" "$home/bin/ApacheJMeter.jar" ;;
        ApacheJMeter_*) cp "$jar" "$home/lib/ext/" ;;
        *) cp "$jar" "$home/lib/" ;;
        esac
    done
}

# --- start -----------------------------------------------------------------------------------------

# Becomes the server: its data in $2, on port $3.
start() {
    local name=$1 dir listen=$3
    mkdir -p "$2" && dir=$(cd "$2" && pwd)
    local jvm=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
    case $name in
    redis)
        # In a file, because every user of the machine sees the arguments of a process.
        (umask 077 && echo "requirepass $(secret redis)" >"$dir/redis.conf")
        exec redis-server "$dir/redis.conf" --port "$listen" --bind 127.0.0.1 --dir "$dir" --appendonly yes \
            --appendfsync everysec --save ''
        ;;
    mariadb)
        [ -d "$dir/data" ] || mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$dir/data" --tmpdir="$dir" \
            --auth-root-authentication-method=normal --skip-test-db >"$dir/install.log" 2>&1 || exit 1
        exec mariadbd --no-defaults --user="$(id -un)" --datadir="$dir/data" --socket="$dir/socket" --tmpdir="$dir" \
            --pid-file="$dir/mariadb.pid" --bind-address=127.0.0.1 --port="$listen" --innodb-buffer-pool-size=256M \
            --character-set-server=utf8mb4 --collation-server=utf8mb4_bin
        ;;
    kafka)
        verified kafka || { echo "Kafka's jars are missing or not the listed ones; run services.sh install" >&2; exit 1; }
        local properties=$dir/server.properties run=("${jvm[@]}" -cp "$jars/kafka/*")
        sed "s#@PORT@#$listen#g; s#@CONTROLLER_PORT@#$((listen + 1))#g; s#@DIR@#$dir#g" \
            "$here/kafka/server.properties.in" >"$properties"
        # $4: a file of more settings; $5: a user who signs in with SCRAM.
        [ -z "${4:-}" ] || cat "$4" >>"$properties"
        # An id of 16 bytes in base64url; it may begin with a dash, so it is bound to its option.
        [ -f "$dir/data/meta.properties" ] || "${run[@]}" kafka.tools.StorageTool format --standalone \
            --cluster-id="$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')" ${5:+--add-scram "$5"} -c "$properties" >"$dir/format.log" 2>&1 ||
            { cat "$dir/format.log" >&2; exit 1; }
        exec "${run[@]:0:3}" -Xms256m -Xmx256m "${run[@]:3}" kafka.Kafka "$properties"
        ;;
    elasticsearch)
        verified elasticsearch || { echo "Elasticsearch's jars are missing or not the listed ones" >&2; exit 1; }
        mkdir -p "$dir/config"
        exec "${jvm[@]}" -Xms512m -Xmx512m -cp "$jars/elasticsearch/*" "$here/elasticsearch/Node.java" \
            "$dir" "$listen" "$((listen + 1))"
        ;;
    nginx)
        mkdir -p "$dir/tmp" "$dir/html"
        sed "s#@PORT@#$listen#g; s#@DIR@#$dir#g" "$here/nginx/nginx.conf.in" >"$dir/nginx.conf"
        exec nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log" -g 'daemon off;'
        ;;
    *) echo "no such service: $name" >&2; exit 2 ;;
    esac
}

# --- up and down -----------------------------------------------------------------------------------

# The process that `up` started, if it still is that process: a number alone may be another's by now.
running() {
    local pid began
    [ -f "$root/$1/pid" ] && read -r pid began <"$root/$1/pid" || return 1
    [ "$(began_at "$pid")" = "$began" ] && echo "$pid"
}

# When a process began, in ticks since boot.
began_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

answers() {
    case $1 in
    redis) REDISCLI_AUTH=$(secret redis) redis-cli -p "${port[redis]}" ping 2>/dev/null | grep -q PONG ;;
    mariadb) mariadb-admin --no-defaults --socket="$root/mariadb/socket" ping >/dev/null 2>&1 ;;
    kafka) brokers ;;
    elasticsearch) curl -sf "http://127.0.0.1:${port[elasticsearch]}/_cluster/health" >/dev/null ;;
    nginx) curl -s -o /dev/null "http://127.0.0.1:${port[nginx]}/" ;;
    esac
}

# Whether Kafka names a broker. An open port is not yet one: this is a Metadata request, version 1, of all topics,
# and the answer's first three numbers are its size, our number, and how many brokers there are.
brokers() {
    local answer
    answer=$( (exec 3<>"/dev/tcp/127.0.0.1/${port[kafka]}" &&
        printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\377\377\377\377' >&3 &&
        timeout 2 head -c 12 <&3 | od -An -tx1) 2>/dev/null | tr -d ' \n')
    [ ${#answer} = 24 ] && [ "${answer:16}" != 00000000 ]
}

up_one() {
    local name=$1 dir=$root/$1 pid
    if pid=$(running "$name"); then echo "$name: 127.0.0.1:${port[$name]}, pid $pid"; return 0; fi
    has "${program[$name]}" || { skipped "$name" "there is no ${program[$name]}; run services.sh install"; return 0; }
    if (exec 3<>"/dev/tcp/127.0.0.1/${port[$name]}") 2>/dev/null; then
        skipped "$name" "somebody else listens on 127.0.0.1:${port[$name]}"; return 0
    fi
    mkdir -p "$dir" && : >"$dir/out.log"
    setsid bash "${BASH_SOURCE[0]}" start "$name" "$dir" "${port[$name]}" >"$dir/out.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(began_at "$pid")" >"$dir/pid"
    local tries=$((START_MAX_S * 10))
    until answers "$name"; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            kill -9 "$pid" 2>/dev/null
            rm -f "$dir/pid"
            skipped "$name" "it did not start: $(tail -n 1 "$dir/out.log")"; return 0
        fi
        sleep 0.1
    done
    echo "$name: 127.0.0.1:${port[$name]}, pid $pid"
}

# Runs the statements $2 as the root of MariaDB, whose password is $1.
as_root() { MYSQL_PWD=$1 mariadb --no-defaults --socket="$root/mariadb/socket" -u root -e "$2"; }

up() {
    local name
    for name in "${names[@]}"; do up_one "$name"; done
    if running mariadb >/dev/null; then
        # A new server has a root without a password.
        as_root "" "ALTER USER root@localhost IDENTIFIED BY '$(secret mariadb)'" 2>/dev/null
        as_root "$(secret mariadb)" "DROP USER IF EXISTS root@'127.0.0.1', root@'::1', root@'$(hostname)';
            CREATE DATABASE IF NOT EXISTS mall; CREATE USER IF NOT EXISTS mall@'127.0.0.1';
            ALTER USER mall@'127.0.0.1' IDENTIFIED BY '$(secret mall)'; GRANT ALL ON mall.* TO mall@'127.0.0.1'"
    fi
    cat <<END
MALL_REDIS__URL=redis://:$(secret redis)@127.0.0.1:${port[redis]}
MALL_KAFKA__BROKERS=127.0.0.1:${port[kafka]}
MALL_DATABASE__URL=mysql://mall:$(secret mall)@127.0.0.1:${port[mariadb]}/mall
MALL_SEARCH__URL=http://127.0.0.1:${port[elasticsearch]}
END
}

down() {
    local name pid
    for name in "${names[@]}"; do
        if pid=$(running "$name"); then
            kill "$pid"
            while running "$name" >/dev/null && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
            echo "$name: stopped"
        fi
        rm -f "$root/$name/pid"
    done
}

status() {
    local name pid
    for name in "${names[@]}"; do
        if pid=$(running "$name"); then echo "$name: 127.0.0.1:${port[$name]}, pid $pid"; else echo "$name: down"; fi
    done
}

case ${1:-} in
install | up | down | status) "$1" ;;
install-tools) install_tools ;;
start) start "${@:2}" ;;
verified) has java && verified "$2" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
