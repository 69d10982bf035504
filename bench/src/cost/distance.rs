//! How far the two processors are from each other now: on a shared machine that changes from minute to minute,
//! and every request of every server pays for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use core_affinity::CoreId;

const BOUNCES: u32 = 20_000;
/// The other side is gone.
const SPINS_MAX: u32 = 1 << 30;

/// Nanoseconds for a cache line to go from processor 0 to 1 and back; `None` where there is one processor only,
/// or threads can't be pinned.
pub(crate) fn round_trip_ns() -> Option<f64> {
    let ball = Arc::new(AtomicU32::new(0));
    let other = {
        let ball = ball.clone();
        std::thread::spawn(move || core_affinity::set_for_current(CoreId { id: 1 }) && bounce(&ball, 1))
    };
    let begun = Instant::now();
    let pinned = std::thread::spawn(move || core_affinity::set_for_current(CoreId { id: 0 }) && bounce(&ball, 0));
    let both = pinned.join().ok()? && other.join().ok()?;
    both.then(|| begun.elapsed().as_nanos() as f64 / f64::from(BOUNCES))
}

/// Passes the ball on whenever it is at `side`.
fn bounce(ball: &AtomicU32, side: u32) -> bool {
    for turn in 0..BOUNCES {
        let mine = turn * 2 + side;
        let mut spins = 0_u32;
        while ball.load(Ordering::Acquire) != mine {
            std::hint::spin_loop();
            spins += 1;
            if spins > SPINS_MAX {
                return false;
            }
        }
        ball.store(mine + 1, Ordering::Release);
    }
    true
}
