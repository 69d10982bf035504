#!/usr/bin/env bash
# Schemathesis against what order-core and admin say of themselves at /openapi.json: a mall of its own on free
# ports, every check, a fixed seed. Says one line: schemathesis: N passed, M failed; an operation is one.
#
#   run.sh install     Schemathesis, from PyPI, into target/
#   run.sh             installs it and runs it on target/debug/mall
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../support/mall.sh"
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target" && target=$(cd "$target" && pwd)
venv=$target/schemathesis
SEED=20261122
EXAMPLES_MAX=50

install() {
    # A venv that is whole has its list beside it.
    cmp -s "$here/requirements.txt" "$venv/requirements.txt" && return
    python3 -m venv --clear "$venv" || { apt-get install -y python3-venv && python3 -m venv --clear "$venv"; } || return
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$here/requirements.txt" &&
        cp "$here/requirements.txt" "$venv/requirements.txt"
}

# Tests the service at $2 by its document.
run() {
    echo "--- $1: $2/openapi.json"
    # Swagger UI comes whole, and from the service itself.
    for file in swagger-ui-bundle.js swagger-ui.css; do
        curl -sf --compressed "$2/docs/$file" -o "$dir/$file" && grep -q swagger-ui "$dir/$file" || status=1
    done
    # What it leaves behind is left in $dir.
    (cd "$dir" && PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 "$venv/bin/schemathesis" --config-file "$dir/$1.toml" \
        run "$2/openapi.json" --checks all --seed $SEED --max-examples $EXAMPLES_MAX --no-color \
        --report junit --report-junit-path "$dir/$1.xml") || status=1
    cat "$dir/$1.xml" >>"$dir/all.xml" || status=1
}

install || { echo "SKIPPED schemathesis: it can't be had from PyPI"; exit 0; }
[ "${1:-}" != install ] || exit 0
[ -x "$target/debug/mall" ] || { echo "there is no target/debug/mall; cargo test --workspace builds it" >&2; exit 1; }
password=$(head -c 12 /dev/urandom | base64)
# Without limits: otherwise most answers would be 429.
start_mall "$target/debug/mall" "$password" MALL_LIMITS__SIGN_IN_MAX=0 MALL_LIMITS__WRITE_MAX=0 MALL_LIMITS__READ_MAX=0 \
    MALL_LIMITS__WRONG_SIGN_INS_MAX=0 MALL_ORDERS__UNPAID_MAX=0 MALL_ORDERS__UNPAID_UNITS_MAX=0
"$venv/bin/python" "$here/goods.py" "$shop" "$admin" "$password" "$dir"
status=0
run order-core "$shop"
run admin "$admin"
kill -0 "$mall" || { echo "the mall died:" >&2; cat "$dir/errors" >&2; status=1; }
awk -F'"' '/<testsuites / { failed += $2 + $4; passed += $8 - $2 - $4 - $6 }
    END { printf "schemathesis: %d passed, %d failed\n", passed, failed }' "$dir/all.xml"
exit $status
