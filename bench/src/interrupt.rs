//! Ctrl-C in the middle of a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{consts::SIGINT, flag};

/// The exit status of a program that SIGINT has ended, as shells count it.
pub(crate) const STATUS: u8 = 130;
/// How often a wait looks for Ctrl-C.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// Whether SIGINT has come. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first SIGINT is noted, and a second one ends the process.
    ///
    /// # Errors
    /// The kernel refuses the handler.
    pub(crate) fn listen() -> Result<Self, String> {
        let this = Self::default();
        // In this order: the first signal finds the flag unset and then sets it.
        let registered = flag::register_conditional_shutdown(SIGINT, STATUS.into(), Arc::clone(&this.0))
            .and_then(|_| flag::register(SIGINT, Arc::clone(&this.0)));
        registered.map(|_| this).map_err(|error| format!("can't listen for Ctrl-C: {error}"))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps for `time`, or until Ctrl-C.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.came() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(CHECK_EVERY));
        }
    }

    /// The result of `work`, which a thread of its own does; `None` if Ctrl-C came first.
    pub(crate) fn wait_for<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        // Nobody receives after Ctrl-C: the work is abandoned with its result.
        thread::spawn(move || drop(sender.send(work())));
        loop {
            match receiver.recv_timeout(CHECK_EVERY) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if self.came() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}
