#!/usr/bin/env bash
# Checks every file that deploys the mall, without a container engine, a cluster or systemd running: compose.yaml, Dockerfile, the
# manifests, the configurations of nginx and Prometheus, alert rules, dashboard, units. tests/mall/deployed compares the same files with
# the program. Says one line: deploy: N passed, M failed.
#
#   check.sh install     the tools: a Go program of ours, and two from PyPI, into target/
#   check.sh             installs them and checks
set -uo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../target}
mkdir -p "$target" && target=$(cd "$target" && pwd)
venv=$target/deploy-check
check=$target/deploy-check/bin/check
# Of 10; `systemd-analyze security` calls up to 2 the best of its four grades.
EXPOSURE_MAX_TENTHS=20

install() {
    # A venv that is whole has its list beside it.
    if ! cmp -s check/requirements.txt "$venv/requirements.txt"; then
        python3 -m venv --clear "$venv" &&
            "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r check/requirements.txt &&
            cp check/requirements.txt "$venv/requirements.txt" || return 1
    fi
    (cd check && go build -o "$check" .)
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

# Runs a check and counts it; what it prints is shown if it fails.
try() {
    local name=$1
    if "${@:2}" >"$dir/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "--- $name" && cat "$dir/out"
    fi
}

panels() { "$check" dashboard "$1" >"$dir/panels.yml" && promtool check rules "$dir/panels.yml"; }

# nginx's own check, with the services' names replaced by an address: it looks them up.
front() {
    mkdir -p "$dir/front/tmp" "$dir/front/logs" && cp -r ../nginx/nginx.conf ../nginx/conf.d "$dir/front" &&
        cp nginx/listen.conf "$dir/front/conf.d/" &&
        sed -E 's/server [a-z0-9-]+:/server 127.0.0.1:/' nginx/upstreams.conf >"$dir/front/conf.d/upstreams.conf" &&
        nginx -t -p "$dir/front" -c nginx.conf -e stderr
}

# Faults in the unit itself; the program is not installed here.
unit() {
    local said
    said=$(systemd-analyze verify "$1" 2>&1 | grep -v 'Command /usr/local/bin/mall is not executable')
    [ -z "$said" ] || { echo "$said"; return 1; }
    systemd-analyze security --no-pager --offline=true --threshold=$EXPOSURE_MAX_TENTHS "$1"
}

has() {
    command -v "$1" >/dev/null || { echo "SKIPPED deploy: there is no $1 to check $2 with"; return 1; }
}

has go "compose.yaml and the manifests" && has python3 "the Dockerfile" || exit 0
install || { echo "SKIPPED deploy: the tools can't be had from the Go proxy or PyPI"; exit 0; }
[ "${1:-}" != install ] || exit 0

try "compose.yaml: as Docker Compose loads it" "$check" compose compose.yaml
try "compose.yaml: schema" "$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
try "Dockerfile: hadolint" "$venv/bin/hadolint" Dockerfile
try "kubernetes: strict types" "$check" kubernetes kubernetes/*.yaml
if has promtool "alert rules and dashboard"; then
    try "prometheus.yml" promtool check config prometheus/prometheus.yml
    try "rules.yml" promtool check rules prometheus/rules.yml
    try "rules_test.yml" promtool test rules prometheus/rules_test.yml
    try "grafana/mall.json: expressions" panels grafana/mall.json
fi
if has nginx "its configuration"; then
    try "nginx in compose.yaml" front
fi
if has systemd-analyze "units"; then
    for file in systemd/*.service; do try "$file" unit "$file"; done
fi
echo "deploy: $passed passed, $failed failed"
[ "$failed" = 0 ]
