//! Requests to the mall that are repeated where they fail.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use contract::ActivityId;

use crate::{audit::Audit, interrupt::Interrupt, mall::Mall};

const RETRY_EVERY: Duration = Duration::from_millis(50);

/// The mall, and how long a request to it is repeated.
#[derive(Clone)]
pub(super) struct Asking {
    pub mall: Arc<Mall>,
    pub activity: ActivityId,
    pub retry: Duration,
    pub interrupt: Interrupt,
}

impl Asking {
    /// Makes a request until it succeeds or the time for it is over; the request gets what is left of that time.
    ///
    /// # Errors
    /// The last fault, or that Ctrl-C came.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl Fn(&Mall, Duration) -> Result<T, String> + Clone + Send + 'static,
    ) -> Result<T, String> {
        let began = Instant::now();
        loop {
            let left = self.retry.saturating_sub(began.elapsed()).max(RETRY_EVERY);
            let (request, mall) = (request.clone(), Arc::clone(&self.mall));
            let asked = self.interrupt.wait_for(move || request(&mall, left));
            // Also where the answer was faster than the notice: callers repeat their question until they like the answer.
            let Some(asked) = asked.filter(|_| !self.interrupt.came()) else { return Err("interrupted".to_owned()) };
            match asked {
                Ok(found) => return Ok(found),
                Err(fault) if began.elapsed() + RETRY_EVERY >= self.retry => {
                    return Err(format!("{fault} (retried for {} s)", self.retry.as_secs_f64()));
                }
                Err(_) => self.interrupt.sleep(RETRY_EVERY),
            }
        }
    }

    pub(super) fn audit(&self) -> Result<Audit, String> {
        let activity = self.activity;
        self.ask(move |mall, timeout| mall.audit(activity, timeout))
    }
}
