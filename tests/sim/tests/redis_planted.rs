//! Known bugs on a simulated Redis are noticed. A process of its own: it silences panics, which elsewhere name the seed.

use std::panic::catch_unwind;

use sim::redis_run::{Planted, run};

/// Seeds within which a known bug must show.
const SEEDS: u64 = 2_000;

/// Each bug, and the seed with which the search for it begins: one that is known to show it, where that is far from 0.
const PLANTED: [(Planted, u64); 14] = [
    (Planted::ForgetfulGateway, 0),
    (Planted::AnswersTooSoon, 0),
    (Planted::HastyLog, 267),
    (Planted::IgnoresLostParts, 11),
    (Planted::NoDecisions, 0),
    (Planted::ForgetsReleases, 0),
    (Planted::SettleReleases, 0),
    (Planted::SellsOnAnyRun, 0),
    (Planted::LosesOutbox, 0),
    (Planted::RestocksAgain, 0),
    (Planted::SilentRelease, 0),
    (Planted::RepeatedTerms, 0),
    (Planted::SellsInAnyTerm, 404),
    (Planted::DropsOutbox, 412),
];

#[test]
fn known_bugs_on_redis_are_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    let holds = |seed: u64, planted: Planted| catch_unwind(|| run(seed, planted)).is_ok();
    // A seed that does not hold without the bug says nothing about it.
    let notices = |seed: &u64, planted: Planted| !holds(*seed, planted) && holds(*seed, Planted::None);
    let first = |planted: Planted, begin: u64| (begin..SEEDS).chain(0..begin).find(|seed| notices(seed, planted));
    let found: Vec<(Planted, Option<u64>)> =
        PLANTED.iter().map(|(planted, begin)| (*planted, first(*planted, *begin))).collect();
    drop(std::panic::take_hook());
    assert!(found.iter().all(|(_, seed)| seed.is_some()), "the first seeds that notice: {found:?}");
}
