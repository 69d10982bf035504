//! 400 seeds on a simulated Redis hold, and one seed is one run.

use std::panic::catch_unwind;

use sim::redis_run::{Planted, answers_after_log, run};

const SEEDS: u64 = 400;

#[test]
fn every_seed_on_redis_settles_and_holds() {
    let (mut faults, mut accepted, mut terms) = (0, 0, 0);
    for seed in 0..SEEDS {
        match catch_unwind(|| run(seed, Planted::None)) {
            Ok(report) => {
                faults += report.faults.len();
                accepted += report.accepted;
                terms += report.terms;
            }
            Err(_) => panic!("seed {seed} does not hold; replay it with: make sim-redis SEED={seed}"),
        }
    }
    let seeds = usize::try_from(SEEDS).unwrap_or(usize::MAX);
    assert!(faults > 4 * seeds && accepted > seeds, "{faults} faults and {accepted} orders are no test");
    // Since one fence works at a time, these worlds break no promise; SCENARIOS.md says that such worlds are missing.
    assert!(terms > 2 * seeds, "{terms} terms are no test");
}

/// Anything but the log may die and forget at any time; see `Run::may_die`.
#[test]
fn every_seed_that_answers_after_the_log_holds() {
    let (mut faults, mut accepted) = (0, 0);
    for seed in (SEEDS..2 * SEEDS).filter(|seed| answers_after_log(*seed)) {
        match catch_unwind(|| run(seed, Planted::None)) {
            Ok(report) => (faults, accepted) = (faults + report.faults.len(), accepted + report.accepted),
            Err(_) => panic!("seed {seed} does not hold; replay it with: make sim-redis SEED={seed}"),
        }
    }
    let seeds = usize::try_from(SEEDS / 4).unwrap_or(usize::MAX);
    assert!(faults > 4 * seeds && accepted > seeds, "{faults} faults and {accepted} orders are no test");
}

#[test]
fn a_seed_on_redis_is_one_run() {
    for seed in 0..3 {
        assert_eq!(run(seed, Planted::None), run(seed, Planted::None));
    }
}
