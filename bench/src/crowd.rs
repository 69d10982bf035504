//! The crowd of a sale: who asks when, who repeats a request, and the answers they get.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use hdrhistogram::Histogram;

use crate::{
    arrivals::Model,
    buyers::{BuyRequest, Buyers},
    history::Call,
    interrupt::Interrupt,
    judge::format::Answer as Told,
    load::{Answer, Next, Script, Times},
    progress::Progress,
    records::{Records, Verdict},
    series::Series,
};

/// A request without a yes or no is sent again so often.
const TRIES_MAX: u32 = 100;
/// And after at most so long, whatever `Retry-After` says: a sale is not kept waiting for a minute.
const RETRY_MAX_NS: u64 = 1_000_000_000;
/// A retry without `Retry-After`.
const RETRY_NS: u64 = 20_000_000;
/// An arrival of the open model that could not be sent so long after the last one was due is dropped.
const DROP_AFTER_NS: u64 = 30_000_000_000;
/// How long requests under way may take after Ctrl-C.
const STOP_GRACE_NS: u64 = 1_000_000_000;
/// An arrival sent later than this counts as late.
const LATE_NS: u64 = 1_000_000;
/// Latencies are kept from 1 us to 10 minutes, to three digits, in nanoseconds.
const LATENCY_NS: (u64, u64, u8) = (1_000, 600_000_000_000, 3);

/// Which users ask a second time, with the same idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// One user in this many.
    pub every: u32,
    /// After this many requests of other users.
    pub distance: u32,
}

/// A job is a user's number twice, plus one for the user's second request.
const fn user_of(job: u32) -> u32 {
    job / 2
}

pub(crate) struct Crowd<'a> {
    buyers: &'a Buyers,
    request: BuyRequest,
    model: Model,
    repeats: Repeats,
    progress: Progress,
    /// Raised to the count of orders once every unit is taken; the auditor's clock starts then.
    all_taken: &'a AtomicU64,
    expected: u64,

    next_user: u32,
    begun: u64,
    repeats_due: VecDeque<(u64, u32)>,
    retries: BinaryHeap<Reverse<(u64, u32, u64)>>,
    tries: HashMap<u32, u32>,
    outstanding: u32,

    pub records: Records,
    pub answers: u64,
    pub retried: u64,
    pub lost: u64,
    pub late: u64,
    pub dropped: u64,
    pub gave_up: u64,
    pub hopeless: bool,
    /// From when a request was due.
    pub latency: Histogram<u64>,
    /// From when it was sent.
    pub latency_raw: Histogram<u64>,
    pub latency_accepted: Histogram<u64>,
    pub series: Series,
    /// Every call, if they are to be written down.
    pub calls: Option<Vec<Call>>,
    /// Ends the run early.
    pub interrupt: Interrupt,
    stopped_ns: Option<u64>,
}

impl<'a> Crowd<'a> {
    pub(crate) fn new(
        buyers: &'a Buyers,
        request: BuyRequest,
        model: Model,
        repeats: Repeats,
        stock: u32,
        all_taken: &'a AtomicU64,
    ) -> Result<Self, hdrhistogram::CreationError> {
        let (low, high, digits) = LATENCY_NS;
        let latency = Histogram::new_with_bounds(low, high, digits)?;
        Ok(Self {
            buyers,
            request,
            model,
            repeats,
            progress: Progress::new(u64::from(buyers.count()) + u64::from(buyers.count() / repeats.every)),
            all_taken,
            expected: u64::from(stock.min(buyers.count())),
            next_user: 0,
            begun: 0,
            repeats_due: VecDeque::new(),
            retries: BinaryHeap::new(),
            tries: HashMap::new(),
            outstanding: 0,
            records: Records::default(),
            answers: 0,
            retried: 0,
            lost: 0,
            late: 0,
            dropped: 0,
            gave_up: 0,
            hopeless: false,
            latency_accepted: latency.clone(),
            latency_raw: latency.clone(),
            latency,
            series: Series::new(),
            calls: None,
            interrupt: Interrupt::default(),
            stopped_ns: None,
        })
    }

    /// The next request that nobody has made yet.
    fn pop_arrival(&mut self) -> Option<u32> {
        let users_left = self.next_user < self.buyers.count();
        if self.repeats_due.front().is_some_and(|(due, _)| *due <= self.begun || !users_left) {
            return self.repeats_due.pop_front().map(|(_, user)| user * 2 + 1);
        }
        if !users_left {
            return None;
        }
        let user = self.next_user;
        self.next_user += 1;
        if self.next_user.is_multiple_of(self.repeats.every) {
            self.repeats_due.push_back((self.begun + 1 + u64::from(self.repeats.distance), user));
        }
        Some(user * 2)
    }

    fn arrivals_left(&self) -> bool {
        self.next_user < self.buyers.count() || !self.repeats_due.is_empty()
    }

    /// When the next arrival is due; now, in the closed model.
    fn arrival_ns(&self, now_ns: u64) -> u64 {
        match &self.model {
            Model::Closed => now_ns,
            Model::Open(arrivals) => arrivals.due_ns(self.begun),
        }
    }

    fn drop_what_is_too_late(&mut self, now_ns: u64) {
        let Model::Open(arrivals) = &self.model else { return };
        let planned = u64::from(self.buyers.count()) + u64::from(self.buyers.count() / self.repeats.every);
        if now_ns > arrivals.due_ns(planned).saturating_add(DROP_AFTER_NS) {
            while self.pop_arrival().is_some() {
                self.dropped += 1;
            }
        }
    }

    /// Writes a call down that nobody answered.
    fn unanswered(&mut self, job: u32, sent_ns: u64) {
        if let Some(calls) = &mut self.calls {
            let user = user_of(job);
            calls.push(Call { user, sent_ns, answered_ns: None, answer: Told::None, order: None, body: None });
        }
    }

    fn again(&mut self, job: u32, intended_ns: u64, due_ns: u64) {
        let tries = self.tries.entry(job).or_insert(1);
        *tries += 1;
        if *tries > TRIES_MAX {
            self.gave_up += 1;
        } else {
            self.retried += 1;
            self.retries.push(Reverse((due_ns, job, intended_ns)));
        }
    }
}

impl Script for Crowd<'_> {
    fn next(&mut self, now_ns: u64) -> Next {
        if self.hopeless {
            return Next::Done;
        }
        if self.stopped_ns.is_some() {
            return if self.outstanding > 0 { Next::Idle } else { Next::Done };
        }
        let retry_ns = self.retries.peek().map(|Reverse((due_ns, ..))| *due_ns);
        if retry_ns.is_some_and(|due_ns| due_ns <= now_ns)
            && let Some(Reverse((_, job, intended_ns))) = self.retries.pop()
        {
            self.outstanding += 1;
            return Next::Ask { job, intended_ns };
        }
        self.drop_what_is_too_late(now_ns);
        let arrival_ns = self.arrivals_left().then(|| self.arrival_ns(now_ns));
        if let Some(intended_ns) = arrival_ns.filter(|due_ns| *due_ns <= now_ns)
            && let Some(job) = self.pop_arrival()
        {
            self.begun += 1;
            self.outstanding += 1;
            self.late += u64::from(now_ns - intended_ns > LATE_NS);
            return Next::Ask { job, intended_ns };
        }
        match arrival_ns.into_iter().chain(retry_ns).min() {
            Some(until_ns) => Next::Wait { until_ns },
            None if self.outstanding > 0 => Next::Idle,
            None => Next::Done,
        }
    }

    fn write(&self, job: u32, out: &mut Vec<u8>) {
        self.request.write(self.buyers, user_of(job), out);
    }

    fn answered(&mut self, job: u32, times: Times, answer: &Answer<'_>) {
        self.outstanding -= 1;
        self.answers += 1;
        let Times { intended_ns, sent_ns, answered_ns } = times;
        let took_ns = answered_ns - intended_ns;
        self.latency.saturating_record(took_ns);
        self.latency_raw.saturating_record(answered_ns - sent_ns);
        let accepted_before = self.records.accepted();
        if answer.status == 202 {
            self.latency_accepted.saturating_record(took_ns);
        }
        let user = user_of(job);
        let told = self.records.answered(user, answer.status, answer.body, sent_ns, answered_ns);
        self.series.answered(answered_ns, took_ns, self.records.accepted() > accepted_before);
        if let Some(calls) = &mut self.calls {
            let body = (told.answer == Told::Yes).then(|| digest(answer.body));
            calls.push(Call {
                user,
                sent_ns,
                answered_ns: Some(answered_ns),
                answer: told.answer,
                order: told.order,
                body,
            });
        }
        match told.verdict {
            Verdict::Final => {}
            Verdict::Again => {
                let wait_ns = answer.retry_after_s.map_or(RETRY_NS, |s| u64::from(s) * 1_000_000_000);
                let due_ns = answered_ns + wait_ns.clamp(RETRY_NS, RETRY_MAX_NS);
                // A refusal has its latency; the next try is measured from its own start.
                self.again(job, due_ns, due_ns);
            }
            Verdict::Hopeless => self.hopeless = true,
        }
        if self.records.accepted() >= self.expected {
            self.all_taken.store(self.records.accepted(), Ordering::Release);
        }
    }

    fn lost(&mut self, job: u32, Times { intended_ns, sent_ns, answered_ns: now_ns }: Times) {
        self.outstanding -= 1;
        self.lost += 1;
        self.unanswered(job, sent_ns);
        // Whether it was carried out is unknown: the same request is repeated to find out, and the wait counts.
        self.again(job, intended_ns, now_ns + RETRY_NS);
    }

    fn abandoned(&mut self, job: u32, Times { sent_ns, .. }: Times) {
        self.outstanding -= 1;
        self.gave_up += 1;
        self.unanswered(job, sent_ns);
    }

    fn tick(&mut self, now_ns: u64) {
        self.progress.show(self.answers, self.records.accepted());
        if self.interrupt.came() {
            self.stopped_ns.get_or_insert(now_ns);
        }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        self.stopped_ns.is_some_and(|at_ns| self.outstanding == 0 || now_ns.saturating_sub(at_ns) > STOP_GRACE_NS)
    }
}

/// FNV-1a, to compare the bodies of repeats.
fn digest(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.progress.clear();
    }
}

#[cfg(test)]
mod tests {
    use contract::ActivityId;

    use super::*;
    use crate::{arrivals::Arrivals, options::duration};

    const YES: &[u8] = br#"{"order_id":"7"}"#;

    fn run(users: u32, repeats: Repeats, check: impl FnOnce(&mut Crowd<'_>)) {
        let (buyers, all_taken) = (Buyers::new(1, users, "secret", 0), AtomicU64::new(0));
        let request = BuyRequest::new("h", ActivityId::from_i64(1).unwrap());
        check(&mut Crowd::new(&buyers, request, Model::Closed, repeats, 1, &all_taken).unwrap());
    }

    fn asked(crowd: &mut Crowd<'_>, now_ns: u64) -> Option<u32> {
        match crowd.next(now_ns) {
            Next::Ask { job, .. } => Some(job),
            Next::Wait { .. } | Next::Idle | Next::Done => None,
        }
    }

    fn answer(crowd: &mut Crowd<'_>, job: u32, status: u16, body: &[u8]) {
        let times = Times { intended_ns: 0, sent_ns: 0, answered_ns: 1 };
        crowd.answered(job, times, &Answer { status, body, retry_after_s: Some(1) });
    }

    #[test]
    fn every_nth_user_asks_twice() {
        run(4, Repeats { every: 2, distance: 1 }, |crowd| {
            let jobs: Vec<u32> = std::iter::from_fn(|| asked(crowd, 0)).collect();
            assert_eq!(jobs, [0, 2, 4, 3, 6, 7]);
        });
        run(2, Repeats { every: 1, distance: 0 }, |crowd| {
            let jobs: Vec<u32> = std::iter::from_fn(|| asked(crowd, 0)).collect();
            assert_eq!(jobs, [0, 1, 2, 3]);
        });
    }

    #[test]
    fn it_ends_when_all_have_their_answer() {
        run(1, Repeats { every: 10, distance: 0 }, |crowd| {
            assert_eq!(asked(crowd, 0), Some(0));
            assert!(matches!(crowd.next(0), Next::Idle));
            crowd.lost(0, Times { intended_ns: 0, sent_ns: 0, answered_ns: 0 });
            assert!(matches!(crowd.next(0), Next::Wait { until_ns: RETRY_NS }));
            assert_eq!(asked(crowd, RETRY_NS), Some(0));
            answer(crowd, 0, 503, b"");
            assert!(matches!(crowd.next(2), Next::Wait { until_ns: 1_000_000_001 }));
            assert_eq!(asked(crowd, 1_000_000_001), Some(0));
            assert_eq!(crowd.all_taken.load(Ordering::Acquire), 0);
            answer(crowd, 0, 202, YES);
            assert_eq!(crowd.all_taken.load(Ordering::Acquire), 1);
            assert!(matches!(crowd.next(0), Next::Done));
            assert_eq!((crowd.answers, crowd.lost, crowd.retried), (2, 1, 2));
        });
    }

    #[test]
    fn ctrl_c_ends_it_with_the_answers_that_come_soon() {
        run(5, Repeats { every: 10, distance: 0 }, |crowd| {
            assert_eq!((asked(crowd, 0), asked(crowd, 0)), (Some(0), Some(2)));
            crowd.interrupt.set();
            crowd.tick(1);
            assert!(matches!(crowd.next(1), Next::Idle) && !crowd.is_over(1));
            answer(crowd, 0, 202, YES);
            assert!(!crowd.is_over(1_000_000_001) && crowd.is_over(1_000_000_002));
            crowd.abandoned(2, Times { intended_ns: 0, sent_ns: 0, answered_ns: 2 });
            assert!(crowd.is_over(2) && matches!(crowd.next(2), Next::Done));
            assert_eq!((crowd.answers, crowd.gave_up, crowd.retried), (1, 1, 0));
        });
    }

    #[test]
    fn a_refused_token_ends_it() {
        run(5, Repeats { every: 10, distance: 0 }, |crowd| {
            assert_eq!(asked(crowd, 0), Some(0));
            answer(crowd, 0, 401, b"");
            assert!(crowd.hopeless && matches!(crowd.next(0), Next::Done));
        });
    }

    #[test]
    fn the_open_model_is_late_and_then_drops() {
        run(10, Repeats { every: 10, distance: 0 }, |crowd| {
            crowd.model = Model::Open(Arrivals::parse("100", duration).unwrap());
            assert_eq!(asked(crowd, 0), Some(0));
            assert!(matches!(crowd.next(1), Next::Wait { until_ns: 10_000_000 }));
            assert_eq!(asked(crowd, 10_500_000), Some(2));
            assert_eq!(crowd.late, 0);
            assert_eq!(asked(crowd, 25_000_000), Some(4));
            assert_eq!((crowd.late, crowd.dropped), (1, 0));
            assert_eq!(asked(crowd, 31_000_000_000), None);
            assert_eq!(crowd.dropped, 8);
        });
    }
}
