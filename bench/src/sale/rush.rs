//! The load of a sale, with an eye on the database.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::{AUDIT_EVERY, asking::Asking};
use crate::{
    audit::Audit,
    crowd::Crowd,
    load::{self, Ran, Settings},
    series::{Look, Looks},
};

/// Looks that are kept until the end of a run; later ones are not shown.
const LOOKS_MAX: usize = 100_000;
/// How often stock and orders are looked at while requests are made.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the load client did, and the fault that ended it early.
pub(super) type Rushed = (Ran, Option<String>);

/// What the watcher of the database found.
#[derive(Default)]
pub(super) struct Watched {
    /// When the database had every order.
    pub caught_up: Option<Instant>,
    looks: Vec<(Instant, Audit)>,
    /// Why it stopped looking.
    pub fault: Option<String>,
}

/// What the database watcher and the load client tell each other.
#[derive(Default)]
pub(super) struct Signals {
    /// Orders accepted when every unit was taken; 0 until then.
    pub all_taken: AtomicU64,
    ended: AtomicBool,
}

/// The load on this thread; on another one, from the moment that all is taken, the wait for the database.
pub(super) fn rush(
    settings: Settings,
    crowd: &mut Crowd<'_>,
    settle: Duration,
    asking: &Asking,
    signals: &Signals,
) -> (Result<Rushed, String>, Watched) {
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut watched = Watched::default();
            watched.fault = watched.watch(asking, settle, signals).err();
            watched
        });
        let ran = load::run_while_possible(settings, crowd);
        if signals.all_taken.load(Ordering::Acquire) == 0 {
            signals.all_taken.store(crowd.records.accepted(), Ordering::Release);
        }
        signals.ended.store(true, Ordering::Release);
        let failed = |_| Watched { fault: Some("the database's watcher failed".to_owned()), ..Watched::default() };
        (ran, watcher.join().unwrap_or_else(failed))
    })
}

impl Watched {
    /// Looks at stock and orders until the database has every order that was accepted, or it takes too long.
    fn watch(&mut self, asking: &Asking, settle: Duration, signals: &Signals) -> Result<(), String> {
        let mut looked: Option<Instant> = None;
        while signals.all_taken.load(Ordering::Acquire) == 0 && !signals.ended.load(Ordering::Acquire) {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                looked = Some(Instant::now());
                self.look(asking.audit()?);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let accepted = i64::try_from(signals.all_taken.load(Ordering::Acquire)).unwrap_or(i64::MAX);
        let mut ended = None;
        while accepted > 0 && ended.is_none_or(|ended: Instant| ended.elapsed() < settle) {
            let found = asking.audit()?;
            let orders = found.database.orders();
            self.look(found);
            if orders >= accepted {
                self.caught_up = Some(Instant::now());
                break;
            }
            if ended.is_none() && signals.ended.load(Ordering::Acquire) {
                ended = Some(Instant::now());
            }
            asking.interrupt.sleep(AUDIT_EVERY);
        }
        Ok(())
    }

    fn look(&mut self, audit: Audit) {
        if self.looks.len() < LOOKS_MAX {
            self.looks.push((Instant::now(), audit));
        }
    }

    /// The looks since a run began.
    pub(super) fn since(&self, began: Instant) -> Vec<Look> {
        let mut looks = Looks::default();
        for (at, audit) in &self.looks {
            let Some(after) = at.checked_duration_since(began) else { continue };
            let at_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            looks.add(Look { at_ns, available: audit.available, durable_orders: audit.database.orders() });
        }
        looks.into_vec()
    }
}
