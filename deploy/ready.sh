#!/usr/bin/env bash
# Whether http://$1/readyz answers 200: ready.sh 127.0.0.1:8080. The health check of the image, which has no other HTTP client.
set -euo pipefail
host=${1%:*} port=${1##*:}
exec 3<>"/dev/tcp/$host/$port"
printf 'GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" >&3
read -r -t 2 status <&3
[[ $status == *" 200 "* ]]
