//! The log of the simulation passes the suite of the logs that it replaces.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use commit_log::{Log, conformance};
use sim::{
    log::SimLog,
    world::{Scheduler, World},
};

/// The suite of the log, on a log that loses no answers (lost answers are faults, not conformance).
#[test]
fn the_log_conforms() {
    for seed in 0..20 {
        let world = World::new(seed);
        let passed = Arc::new(AtomicU64::new(0));
        let mut scheduler = Scheduler::new(world.clone());
        let logs: Arc<std::sync::Mutex<Vec<SimLog>>> = Arc::default();
        let suite = {
            let (world, logs, passed) = (world.clone(), logs.clone(), passed.clone());
            async move {
                conformance::all(async || {
                    let log = SimLog::reliable(world.clone());
                    log.create_topics(conformance::topics()).await.unwrap();
                    logs.lock().unwrap().push(log.clone());
                    log
                })
                .await;
                passed.fetch_add(1, Ordering::Relaxed);
            }
        };
        scheduler.spawn(0, suite);
        while passed.load(Ordering::Relaxed) == 0 {
            let started: Vec<SimLog> = logs.lock().unwrap().drain(..).collect();
            for log in started {
                scheduler.spawn(1, log.write());
            }
            assert!(scheduler.step(), "seed {seed}: nothing can happen any more");
        }
    }
}
