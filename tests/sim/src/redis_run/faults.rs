//! What goes wrong in a run, and when.

use std::collections::BTreeSet;

use contract::{
    OrderId,
    activity::AnswerAfter,
    record::{Entries, Record as _},
    stock::{Entry, Event},
    topic,
};
use foundation::Clock;

use super::{FAULTS_END_MS, MORTAL, Part, Run, SETTLE_MAX_MS};
use crate::redis::{Loss, Planted};

/// Between two faults.
const FAULT_EVERY_MAX_MS: u64 = 1_200;
/// A part that was killed is back within this time.
const DOWN_MAX_MS: u64 = 600;
/// A part that was paused goes on within this time: longer than a lease lasts, and than a fence waits for gateways.
const PAUSED_MAX_MS: u64 = 12_000;
/// What Redis loses of its last writes at most.
const LOST_MAX_MS: u64 = 2_000;
/// A master that was replaced answers as before for this time at most.
const SPLIT_MAX_MS: u64 = 9_000;
/// A run that has not settled after this many steps never will.
const STEPS_MAX: u64 = 6_000_000;

/// Something that ends a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Start(Part),
    Resume(Part),
    StartRedis(Loss),
    Demote,
    FailBack,
    Empty,
}

impl Run {
    /// Safety, then liveness: faults until [`FAULTS_END_MS`], then none. How many steps it took.
    pub(super) fn play(&mut self, users: usize) -> u64 {
        let mut due: Vec<(u64, Remedy)> = Vec::new();
        let mut fault_at_ms = self.world.now_ms() + self.world.below(3_000);
        let (mut steps, mut was_over) = (0, false);
        loop {
            steps += 1;
            let now_ms = self.world.now_ms();
            let late = now_ms > FAULTS_END_MS + SETTLE_MAX_MS;
            assert!(steps < STEPS_MAX && !late, "the run does not settle: {}; {:#?}", self.unsettled(), self.faults);
            while let Some(at) = due.iter().position(|(at_ms, _)| *at_ms <= now_ms) {
                let (_, remedy) = due.swap_remove(at);
                self.remedy(remedy);
            }
            if now_ms >= fault_at_ms && now_ms < FAULTS_END_MS {
                self.fault(&mut due);
                fault_at_ms = now_ms + self.world.below(FAULT_EVERY_MAX_MS);
            }
            let is_over = now_ms >= FAULTS_END_MS && due.is_empty();
            if is_over && !was_over {
                was_over = true;
                self.redis.disturb(0);
                self.redis.demote_others();
            }
            assert!(self.scheduler.step(), "nothing can happen any more: {}", self.unsettled());
            let is_done = was_over && self.mall.history.done.get() == users;
            if steps.is_multiple_of(256) && is_done && self.is_settled() {
                return steps;
            }
        }
    }

    fn note(&mut self, fault: String) {
        let at_ms = self.world.now_ms() - crate::world::BEGIN_MS;
        self.faults.push(format!("{at_ms} ms: {fault}"));
    }

    fn fault(&mut self, due: &mut Vec<(u64, Remedy)>) {
        let now_ms = self.world.now_ms();
        let is_hit = |due: &[(u64, Remedy)], part: Part| {
            due.iter().any(|(_, remedy)| matches!(remedy, Remedy::Start(hit) | Remedy::Resume(hit) if *hit == part))
        };
        let redis_is_down = due.iter().any(|(_, remedy)| matches!(remedy, Remedy::StartRedis(_)));
        match self.world.below(9) {
            0..=2 => {
                let part = MORTAL[self.world.index(MORTAL.len())];
                if !is_hit(due, part) && self.may_die(part) {
                    self.note(format!("{part:?} dies"));
                    self.kill(part);
                    due.push((now_ms + self.world.below(DOWN_MAX_MS), Remedy::Start(part)));
                }
            }
            3 | 4 => {
                let part = MORTAL[self.world.index(MORTAL.len() - 1)];
                if !is_hit(due, part) {
                    self.note(format!("{part:?} is paused"));
                    self.scheduler.pause(part);
                    due.push((now_ms + self.world.below(PAUSED_MAX_MS), Remedy::Resume(part)));
                }
            }
            5 | 6 if !redis_is_down => self.restart_redis(due),
            7 if !redis_is_down && self.may_forget() => self.disturb_redis(due),
            8 if !redis_is_down && self.may_forget() => {
                let keys = self.redis.keys();
                if !keys.is_empty() {
                    let key = keys[self.world.index(keys.len())].clone();
                    self.note(format!("{key} is evicted"));
                    self.redis.evict(&key);
                }
            }
            _ => {}
        }
    }

    fn restart_redis(&mut self, due: &mut Vec<(u64, Remedy)>) {
        let loss = match self.world.below(8) {
            0..=2 => Loss::Nothing,
            7 => Loss::All,
            _ => Loss::Last(self.world.below(LOST_MAX_MS)),
        };
        if loss == Loss::Nothing || self.may_forget() {
            self.note(format!("Redis restarts and has lost {loss:?}"));
            self.redis.stop();
            due.push((self.world.now_ms() + self.world.below(DOWN_MAX_MS), Remedy::StartRedis(loss)));
        }
    }

    fn disturb_redis(&mut self, due: &mut Vec<(u64, Remedy)>) {
        let now_ms = self.world.now_ms();
        if self.world.one_in(4) {
            self.note("Redis is full".to_owned());
            self.redis.fill();
            due.push((now_ms + self.world.below(2_000), Remedy::Empty));
        } else {
            let lag_ms = self.world.below(LOST_MAX_MS);
            self.note(format!("a replica that lags by {lag_ms} ms takes over"));
            self.redis.fail_over(lag_ms);
            let remedy = if self.world.one_in(4) { Remedy::FailBack } else { Remedy::Demote };
            due.push((now_ms + self.world.below(SPLIT_MAX_MS), remedy));
        }
    }

    fn remedy(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::Start(part) => self.start(part),
            Remedy::Resume(part) => self.scheduler.resume(part),
            Remedy::StartRedis(loss) => {
                let loads_ms = if self.world.one_in(3) { self.world.below(1_500) } else { 0 };
                self.redis.start(loss, self.world.now_ms() + loads_ms);
            }
            Remedy::FailBack if self.may_forget() => {
                self.note("the address leads back to the old master".to_owned());
                self.redis.fail_back();
            }
            Remedy::Demote | Remedy::FailBack => self.redis.demote_others(),
            Remedy::Empty => self.redis.make_room(),
        }
    }

    /// Every entry on the journal, whether it counts or not.
    pub(super) fn journal(&self) -> Vec<Entry> {
        let records = self.log.records(topic::ORDERS).into_iter();
        let entries = records.map(|record| Entries::decode(&record.value).map(Entries::into_vec));
        entries.flat_map(|entries| entries.unwrap_or_else(|error| panic!("poison on the journal: {error}"))).collect()
    }

    fn on_journal(&self) -> BTreeSet<OrderId> {
        let order = |entry: &Entry| match entry.event {
            Event::Held(reservation) | Event::PromiseFailed { reservation, .. } => Some(reservation.order),
            Event::Opened { .. }
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. }
            | Event::TermStarted { .. }
            | Event::TermOpened(_) => None,
        };
        self.journal().iter().filter_map(order).collect()
    }

    /// Whether all that the part knows of promises is known elsewhere as well.
    fn may_die(&self, part: Part) -> bool {
        let Part::Gateway(index) = part else { return true };
        if self.answer_after == AnswerAfter::Log {
            return true;
        }
        let recent = self.lives.borrow()[index].as_ref().and_then(|life| life.recent());
        let mut kept = self.on_journal();
        // A server that is down may come back without it.
        if self.redis.connect().is_some() {
            kept.extend(self.redis.outbox_orders(self.mall.activity));
        }
        recent.is_none_or(|recent| recent.all().iter().all(|(_, promise)| kept.contains(&promise.reservation.order)))
    }

    /// Whether Redis may lose something: what it knows of promises, the log or a gateway that lives knows as well.
    fn may_forget(&self) -> bool {
        if self.planted == Planted::ForgetfulGateway || self.answer_after == AnswerAfter::Log {
            return true;
        }
        let kept = self.on_journal();
        self.dead_memory.iter().all(|order| kept.contains(order))
    }
}
