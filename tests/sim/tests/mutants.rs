//! Known bugs are noticed. A process of its own: it silences panics, which elsewhere name the seed.

use std::panic::catch_unwind;

use sim::{mutant::Mutant, run::run};

/// Seeds within which a known bug must show.
const SEEDS: u64 = 400;

#[test]
fn known_bugs_are_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = |mutant| (0..SEEDS).any(|seed| catch_unwind(|| run(seed, mutant)).is_err());
    let missed: Vec<Mutant> = [Mutant::HastyLog, Mutant::SettleReleases, Mutant::ForgetsReleases]
        .into_iter()
        .filter(|mutant| !noticed(*mutant))
        .collect();
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not noticed within {SEEDS} seeds: {missed:?}");
}
