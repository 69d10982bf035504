# Turns results of sale.jmx (CSV with a head, sample_variables=user,order,code) into calls in the format of docs/judge.md. JMeter has a clock of
# milliseconds: a call is written down as one millisecond longer than it was.
BEGIN { FS = "," }
NR == 1 { for (at = 1; at <= NF; at++) { gsub(/"/, "", $at); column[$at] = at } next }
{
    gsub(/"/, "")
    user = $column["user"]; order = $column["order"]; code = $column["code"]; status = $column["responseCode"]
    sent = $column["timeStamp"]; answered = sent + $column["elapsed"] + 1
    times = sprintf("\"sent_ns\":%d000000", sent)
    ended = sprintf(",\"answered_ns\":%d000000", answered)
    if (status == 202) result = ended ",\"answer\":\"yes\",\"order\":\"" order "\""
    else if (status == 409 && code == "sold_out") result = ended ",\"answer\":\"sold_out\""
    else if (status == 409 && code == "limit_reached") result = ended ",\"answer\":\"limit\""
    else if (status ~ /^[0-9]+$/) result = ended ",\"answer\":\"refused\""
    else result = ",\"answer\":\"none\""
    printf "{\"call\":\"buy\",\"user\":\"%s\",\"key\":\"%s\",%s%s}\n", user, user, times, result
}
