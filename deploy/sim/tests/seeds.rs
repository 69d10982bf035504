//! 500 seeds hold, one seed is one run, and known bugs are noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::run::{Mutant, run};

const SEEDS: u64 = 500;
/// Seeds within which a known bug must show.
const MUTANT_SEEDS: u64 = 60;

#[test]
fn every_seed_settles_and_holds() {
    let (mut crashes, mut accepted) = (0, 0);
    for seed in 0..SEEDS {
        match catch_unwind(|| run(seed, Mutant::None)) {
            Ok(report) => {
                crashes += report.crashes;
                accepted += report.accepted;
            }
            Err(_) => panic!("seed {seed} does not hold; replay it with: make sim SEED={seed}"),
        }
    }
    assert!(crashes > SEEDS && accepted as u64 > SEEDS, "{crashes} crashes and {accepted} orders are no test");
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..5 {
        assert_eq!(run(seed, Mutant::None), run(seed, Mutant::None));
    }
}

#[test]
fn known_bugs_are_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = |mutant| (0..MUTANT_SEEDS).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, mutant))).is_err());
    let missed: Vec<Mutant> = [Mutant::HastyLog, Mutant::SettleReleases, Mutant::ForgetsReleases]
        .into_iter()
        .filter(|mutant| !noticed(*mutant))
        .collect();
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not noticed within {MUTANT_SEEDS} seeds: {missed:?}");
}
