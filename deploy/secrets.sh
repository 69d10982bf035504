#!/usr/bin/env bash
# Makes the secrets of deploy/compose.yaml at random, in deploy/secrets; those that are there stay.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# Writes what the rest of the line prints to secrets/$1. A container reads its files as another user than their owner;
# the directory keeps other users of this host out.
keep() {
    [ -s "secrets/$1" ] || "${@:2}" >"secrets/$1"
    chmod 444 "secrets/$1"
}

for name in shopper_secret admin_secret admin_password mysql_root_password mysql_password redis_password grafana_password; do
    keep $name random
done
keep database_url printf 'mysql://mall:%s@mysql:3306/mall' "$(cat secrets/mysql_password)"
keep redis_url printf 'redis://:%s@redis:6379' "$(cat secrets/redis_password)"
