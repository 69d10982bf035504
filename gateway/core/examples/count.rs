//! Runs a number of rounds of one kind of request: `count accepted 100`. What it takes beyond a run of fewer rounds is
//! what those requests take; `bench/instructions.sh` has it counted by callgrind.
#![allow(clippy::unwrap_used, reason = "the world of the tests stops at what it does not expect")]

#[path = "../benches/script/mod.rs"]
mod script;

use script::{CONNECTIONS, Kind, Script};

/// Made for every run, so that runs differ by their rounds alone.
const ROUNDS_MAX: usize = 128;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let kind = args.get(1).and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name));
    let rounds = args.get(2).and_then(|rounds| rounds.parse().ok()).filter(|rounds| *rounds <= ROUNDS_MAX);
    let (Some(kind), Some(rounds)) = (kind, rounds) else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        panic!(
            "count KIND ROUNDS: KIND is one of {kinds:?}, of {CONNECTIONS} requests each; at most {ROUNDS_MAX} rounds"
        );
    };
    let mut script = Script::new(kind, ROUNDS_MAX);
    (0..rounds).for_each(|number| script.round(number));
}
