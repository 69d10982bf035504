#!/usr/bin/env bash
# The three OpenAPI documents as others use them: `redocly lint` with its recommended rules finds nothing in them, and TypeScript
# clients that are generated from them compile with tsc's strict rules and go through a mall. Nothing that is generated is kept.
# Ends with one line: clients: N passed, M failed.
#
#   run.sh install     the tools, from npm, into target/
#   run.sh             installs them and runs on target/debug/mall, or the program that the variable MALL names
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../support/mall.sh"
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target" && target=$(cd "$target" && pwd)
work=$target/clients
SERVICES=(gateway order-core admin)

skipped() {
    echo "SKIPPED clients: $1"
    exit 0
}

install() {
    command -v node >/dev/null && command -v npm >/dev/null || skipped "there is no Node.js"
    cmp -s "$here/package-lock.json" "$work/package-lock.json" && return
    mkdir -p "$work"
    cp "$here/package.json" "$here/package-lock.json" "$work/"
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent) ||
        { rm -f "$work/package-lock.json"; skipped "npm can't fetch its packages"; }
}

# Runs a check and counts it.
check() {
    local name=$1
    shift
    if "$@" >"$dir/check" 2>&1; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name" && cat "$dir/check"
    fi
}

# Any finding, a warning too, fails.
lint() {
    bin/redocly lint --format=json "$1.json" >"$dir/findings" 2>"$dir/said" || true
    node -e 'const { totals, problems } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        for (const { ruleId, message, location, ignored } of problems) if (!ignored) console.log(ruleId, location[0].pointer, message);
        process.exit(totals.errors + totals.warnings > 0 ? 1 : 0)' <"$dir/findings" || { cat "$dir/said"; return 1; }
}

install
[ "${1:-}" != install ] || exit 0
mall_program=${MALL:-$target/debug/mall}
[ -x "$mall_program" ] || { echo "there is no $mall_program; cargo test --workspace builds target/debug/mall" >&2; exit 1; }
password=$(head -c 12 /dev/urandom | base64)
start_mall "$mall_program" "$password"
cd "$work"
ln -sfn node_modules/.bin bin
rm -rf out && cp "$here"/*.ts "$here/tsconfig.json" "$here/redocly.yaml" "$here/.redocly.lint-ignore.yaml" .
curl -sf "$shop/openapi/gateway.json" -o gateway.json
curl -sf "$shop/openapi.json" -o order-core.json
curl -sf "$admin/openapi.json" -o admin.json
passed=0 failed=0
for service in "${SERVICES[@]}"; do
    check "redocly lint $service" lint "$service"
    check "openapi-typescript $service" bin/openapi-typescript "$service.json" --output "$service.ts"
done
check "tsc --strict" bin/tsc
check "a walk through the mall" node out/walk.js "$gateway" "$shop" "$admin" "$password"
kill -0 "$mall" || { echo "the mall died:" >&2; cat "$dir/errors" >&2; failed=$((failed + 1)); }
echo "clients: $passed passed, $failed failed"
[ "$failed" = 0 ]
