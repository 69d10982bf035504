#!/usr/bin/env bash
# Runs sale.jmx on a sale that `bench prepare DIR` has made, and leaves the calls in DIR/history.jsonl for `bench judge`.
#
#   bench/jmeter/run.sh DIR [THREADS]
#
# JMETER_HOME names a JMeter 5.6.3. Exits with 1 if a request got neither a yes nor a no: JMeter itself exits with 0 even then.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$1" && pwd)
threads=${2:-20}
: "${JMETER_HOME:?names the directory of JMeter 5.6.3}"

member() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" "$dir/sale.json"; }
gateway=$(member gateway)
address=${gateway#http://}
java -Xmx512m -Djava.awt.headless=true -jar "$JMETER_HOME/bin/ApacheJMeter.jar" -n -t "$here/sale.jmx" -f -l "$dir/results.jtl" -j "$dir/jmeter.log" \
    -Jdir="$dir" -Jactivity="$(member activity_id)" -Jhost="${address%:*}" -Jport="${address##*:}" -Jthreads="$threads" \
    -Jsample_variables=user,order,code -Jjmeter.save.saveservice.output_format=csv -Jjmeterengine.nongui.port=0 >"$dir/jmeter.out"
awk -f "$here/history.awk" "$dir/results.jtl" >>"$dir/history.jsonl"
awk -F, 'NR == 1 { for (at = 1; at <= NF; at++) if ($at == "success") column = at; next }
    { total++; if ($column != "true") failed++ }
    END { printf "jmeter: %d requests, %d failed\n", total, failed; exit failed > 0 || total == 0 }' "$dir/results.jtl"
