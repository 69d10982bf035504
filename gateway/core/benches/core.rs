//! What the core's parts take: `cargo bench -p gateway-core`. A figure is for 64 requests, one on each connection.

#![allow(missing_docs, reason = "criterion's macro makes a function")]
#![allow(clippy::unwrap_used, reason = "the world of the tests stops at what it does not expect")]
#![allow(clippy::disallowed_methods, reason = "a bench looks at the clock; the core does not")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

mod script;

use script::{CONNECTIONS, Kind, Script, ledger};

/// Rounds of one script; a bench of more makes another.
const ROUNDS_MAX: usize = 256;
const COMMANDS: u32 = 4096;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    for kind in Kind::ALL {
        group.bench_function(kind.name(), |bencher| bencher.iter_custom(|rounds| timed(kind, rounds)));
    }
    group.finish();
}

/// The time of this many rounds, without the making of their requests.
fn timed(kind: Kind, rounds: u64) -> Duration {
    let (mut left, mut taken) = (usize::try_from(rounds).unwrap_or(usize::MAX), Duration::ZERO);
    while left > 0 {
        let rounds = left.min(ROUNDS_MAX);
        let mut script = Script::new(kind, rounds);
        let begun = Instant::now();
        (0..rounds).for_each(|number| script.round(number));
        taken += begun.elapsed();
        left -= rounds;
    }
    taken
}

fn reservations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(COMMANDS.into()));
    group.bench_function("reserve", |bencher| {
        bencher.iter_batched(
            || (ledger(COMMANDS), Vec::with_capacity(COMMANDS as usize)),
            |((mut ledger, commands), mut journal)| {
                for command in commands {
                    black_box(ledger.apply(command, 1_800_000_000_001, &mut journal));
                }
                (ledger, journal)
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, requests, reservations);
criterion_main!(benches);
