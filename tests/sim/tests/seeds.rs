//! 500 seeds hold, and one seed is one run.

use std::panic::catch_unwind;

use sim::{mutant::Mutant, run::run};

const SEEDS: u64 = 500;

#[test]
fn every_seed_settles_and_holds() {
    let (mut crashes, mut accepted, mut parked) = (0, 0, 0);
    for seed in 0..SEEDS {
        match catch_unwind(|| run(seed, Mutant::None)) {
            Ok(report) => {
                crashes += report.crashes;
                accepted += report.accepted;
                parked += u64::from(report.parked > 0);
            }
            Err(_) => panic!("seed {seed} does not hold; replay it with: make sim SEED={seed}"),
        }
    }
    assert!(crashes > SEEDS && accepted as u64 > SEEDS, "{crashes} crashes and {accepted} orders are no test");
    assert!(parked > SEEDS / 10, "the sale was parked in {parked} runs only");
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..5 {
        assert_eq!(run(seed, Mutant::None), run(seed, Mutant::None));
    }
}
