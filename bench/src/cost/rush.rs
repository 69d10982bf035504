//! Many requests of one kind, as fast as the connections take them, and their answers.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::{
    buyers::{BuyRequest, Buyers},
    load::{Answer, Next, Script, Times},
};

/// Latencies are kept from 1 us to a minute, to three digits, in nanoseconds.
const LATENCY_NS: (u64, u64, u8) = (1_000, 60_000_000_000, 3);

/// One buyer after another asks for a unit of one activity.
pub(crate) struct Rush<'a> {
    buyers: &'a Buyers,
    request: BuyRequest,
    /// Everybody asks as this one.
    as_one: Option<u32>,
    /// Requests are made so far apart, whatever the server does; else as fast as they are answered.
    every_ns: u64,
    jobs: u32,
    per_job: u32,
    begun: u32,
    unanswered: u64,
    pub told: BTreeMap<u16, u64>,
    pub latency: Histogram<u64>,
}

impl<'a> Rush<'a> {
    pub(crate) fn new(buyers: &'a Buyers, request: BuyRequest, per_job: u32) -> Result<Self, String> {
        let (low, high, digits) = LATENCY_NS;
        let latency = Histogram::new_with_bounds(low, high, digits).map_err(|error| error.to_string())?;
        let jobs = buyers.count() / per_job;
        Ok(Self {
            buyers,
            request,
            as_one: None,
            every_ns: 0,
            jobs,
            per_job,
            begun: 0,
            unanswered: u64::from(jobs) * u64::from(per_job),
            told: BTreeMap::new(),
            latency,
        })
    }

    /// The same, all of them asked by one user.
    pub(crate) fn of_one(self, user: u32) -> Self {
        Self { as_one: Some(user), ..self }
    }

    /// The same, `per_second` of them.
    pub(crate) fn at_rate(self, per_second: u32) -> Self {
        Self { every_ns: 1_000_000_000 / u64::from(per_second), ..self }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.told.values().sum()
    }
}

impl Script for Rush<'_> {
    fn next(&mut self, now_ns: u64) -> Next {
        if self.begun < self.jobs {
            let due_ns = u64::from(self.begun) * self.every_ns;
            if now_ns < due_ns {
                return Next::Wait { until_ns: due_ns };
            }
            self.begun += 1;
            let intended_ns = if self.every_ns == 0 { now_ns } else { due_ns };
            return Next::Ask { job: self.begun - 1, intended_ns };
        }
        if self.unanswered == 0 { Next::Done } else { Next::Idle }
    }

    fn write(&self, job: u32, out: &mut Vec<u8>) {
        for at in 0..self.per_job {
            self.request.write(self.buyers, self.as_one.unwrap_or(job * self.per_job + at), out);
        }
    }

    fn answered(&mut self, _job: u32, times: Times, answer: &Answer<'_>) {
        *self.told.entry(answer.status).or_default() += 1;
        self.unanswered -= 1;
        self.latency.saturating_record(times.answered_ns - times.intended_ns);
    }

    /// A rush in which a connection broke is void; it ends all the same.
    fn lost(&mut self, _job: u32, _times: Times) {
        self.unanswered = self.unanswered.saturating_sub(self.per_job.into());
    }

    fn tick(&mut self, _now_ns: u64) {}
}
