// A flash sale: every user of users.csv asks for one unit. `bench prepare DIR` makes the sale and the files.
//
//   k6 run -e DIR=DIR --log-format raw --log-output file=DIR/calls.jsonl bench/k6/sale.js
//   cat DIR/calls.jsonl >> DIR/history.jsonl && bench judge DIR/history.jsonl
//
// Each call is logged as one line in the format of docs/judge.md. k6 has a clock of milliseconds: a call is written down as at most one
// millisecond longer than it was at each end. A fresh DIR for each run: k6 appends to the file.
import http from 'k6/http';
import exec from 'k6/execution';
import { SharedArray } from 'k6/data';
import { Counter } from 'k6/metrics';

const sale = JSON.parse(open(`${__ENV.DIR}/sale.json`));
const users = new SharedArray('users', () => open(`${__ENV.DIR}/users.csv`).trim().split('\n'));
const accepted = new Counter('accepted');
const soldOut = new Counter('sold_out');

export const options = {
    scenarios: { sale: { executor: 'shared-iterations', vus: Number(__ENV.VUS || 20), iterations: users.length, maxDuration: '5m' } },
    // A request that got neither a yes nor a no has failed.
    thresholds: { http_req_failed: ['rate==0'], http_req_duration: [`p(99)<${__ENV.P99_MS || 1000}`] },
};

http.setResponseCallback(http.expectedStatuses(202, 409));

export default function () {
    const [user, token] = users[exec.scenario.iterationInTest].split(',');
    const body = `{"activity_id":"${sale.activity_id}","quantity":1}`;
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Idempotency-Key': `k6-${user}` };
    const sent = Date.now() * 1e6;
    const answer = http.post(`${sale.gateway}/api/v1/seckill/orders`, body, { headers });
    const call = { call: 'buy', user, key: user, sent_ns: sent, answered_ns: (Date.now() + 1) * 1e6, answer: 'refused' };
    if (answer.status === 202) {
        call.answer = 'yes';
        call.order = answer.json('order_id');
        accepted.add(1);
    } else if (answer.status === 409 && answer.json('code') === 'sold_out') {
        call.answer = 'sold_out';
        soldOut.add(1);
    } else if (answer.status === 409 && answer.json('code') === 'limit_reached') {
        call.answer = 'limit';
    } else if (answer.status === 0) {
        call.answer = 'none';
        delete call.answered_ns;
    }
    console.log(JSON.stringify(call));
}
