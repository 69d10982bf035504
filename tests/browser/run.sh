#!/usr/bin/env bash
# The shop in a real browser: a mall of its own on free ports, Chromium without a window. Says one line:
# browser: N passed, M failed. Screenshots of every page are in target/screens.
#
#   run.sh install     playwright-core and axe-core from npm, Chromium from Debian
#   run.sh [NAME]      installs them and runs the tests, or those whose name has NAME in it, on target/debug/mall
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target" && target=$(cd "$target" && pwd)
modules=$target/browser

skipped() {
    echo "SKIPPED browser: $1"
    exit 0
}

install() {
    command -v node >/dev/null && command -v npm >/dev/null || skipped "there is no Node.js"
    if ! command -v chromium >/dev/null; then
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-noto-cjk; } \
            >"$target/chromium.log" 2>&1 || skipped "there is no chromium, and it can't be installed here"
    fi
    if ! cmp -s "$here/package-lock.json" "$modules/package-lock.json"; then
        mkdir -p "$modules"
        cp "$here/package.json" "$modules/"
        cp "$here/package-lock.json" "$modules/package-lock.json"
        (cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund --silent) ||
            { rm -f "$modules/package-lock.json"; skipped "npm can't fetch its packages"; }
    fi
    # Node looks for packages in the folders above a script.
    cp "$here"/*.mjs "$modules/"
}

install
[ "${1:-}" != install ] || exit 0
exec env MALL="$target/debug/mall" CHROMIUM="$(command -v chromium)" SCREENS="$target/screens" node "$modules/main.mjs" "$@"
