//! Sales whose next entry the database refuses.

use commit_log::Log;
use contract::ActivityId;
use domain::{Line, Outlook, Parked, Retried, SaleError, SaleStore, TAKE_IN_MAX};
use foundation::Clock;

use super::Journal;
use crate::WorkerError;

/// How often parked sales are looked at, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// Before the first try of a parked sale, in milliseconds; doubled before each further one.
pub(crate) const RETRY_MIN_MS: u64 = 10_000;
/// The longest pause between two tries, in milliseconds.
const RETRY_MAX_MS: u64 = 600_000;
/// Failures in a row after which an error of unknown outlook counts as one that will not pass.
const UNCLEAR_TRIES_MAX: u32 = 5;

/// When a sale is tried again that was tried `tries` times since it was parked.
fn next_try_ms(now_ms: u64, tries: u64) -> u64 {
    let doublings = u32::try_from(tries).unwrap_or(u32::MAX).min(u64::BITS - 1);
    let pause_ms = RETRY_MIN_MS.saturating_mul(1 << doublings).min(RETRY_MAX_MS);
    now_ms.saturating_add(pause_ms)
}

impl<L: Log, S: SaleStore, C: Clock> Journal<L, S, C> {
    /// Whether the sale must be parked for this error. One of unknown outlook is retried a few times first.
    pub(super) fn is_final(&mut self, activity: ActivityId, error: &SaleError) -> bool {
        match error.outlook() {
            Outlook::WillNotPass => true,
            Outlook::WillPass => false,
            Outlook::Unknown => {
                let tries = self.unclear.entry(activity).or_default();
                *tries += 1;
                *tries >= UNCLEAR_TRIES_MAX
            }
        }
    }

    pub(super) async fn park(
        &mut self,
        activity: ActivityId,
        error: &SaleError,
        lines: &[Line],
    ) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        self.store
            .park(activity, &error.to_string(), lines, (now_ms, next_try_ms(now_ms, 0)))
            .await
            .map_err(WorkerError::store)?;
        tracing::error!(
            %activity, %error, entries = lines.len(),
            "the database refuses an entry of this sale; the sale is parked, and all others go on"
        );
        self.look_at_ms = now_ms;
        self.unclear.remove(&activity);
        if let SaleError::Gap { .. } = error {
            self.read_again(activity).await?;
        }
        Ok(())
    }

    /// Tries the parked sales that are due, and reports those that are left.
    pub(super) async fn look(&mut self) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        self.look_at_ms = now_ms + LOOK_EVERY_MS;
        let parked = self.store.parked().await.map_err(WorkerError::store)?;
        let is_due = |sale: &&Parked| sale.dropped.is_none() && (!self.tried_all || sale.next_try_ms <= now_ms);
        let due: Vec<Parked> = parked.iter().filter(is_due).cloned().collect();
        if due.is_empty() {
            (self.report)(&parked);
        }
        for sale in &due {
            if let Err(error) = self.take_parked(sale.activity).await? {
                tracing::debug!(activity = %sale.activity, %error, tries = sale.tries, "the sale stays parked");
                let next_ms = next_try_ms(now_ms, sale.tries + 1);
                self.store
                    .note_failed_try(sale.activity, &error.to_string(), next_ms)
                    .await
                    .map_err(WorkerError::store)?;
                if let SaleError::Gap { .. } = error {
                    self.read_again(sale.activity).await?;
                }
            }
        }
        if !due.is_empty() {
            let left = self.store.parked().await.map_err(WorkerError::store)?;
            (self.report)(&left);
        }
        self.tried_all = true;
        Ok(())
    }

    /// Tries those of `activities` that are parked; what became of a try that fails is not noted.
    pub(super) async fn take_parked_of(&mut self, activities: &[ActivityId]) -> Result<(), WorkerError> {
        for sale in self.store.parked().await.map_err(WorkerError::store)? {
            if sale.dropped.is_some() || !activities.contains(&sale.activity) {
                continue;
            }
            match self.take_parked(sale.activity).await? {
                Ok(()) => self.look_at_ms = self.clock.now_ms(),
                Err(error) => tracing::debug!(activity = %sale.activity, %error, "the sale stays parked"),
            }
        }
        Ok(())
    }

    /// Takes in what waits of a parked sale, as far as the database accepts it; why it does not accept the rest.
    async fn take_parked(&mut self, activity: ActivityId) -> Result<Result<(), SaleError>, WorkerError> {
        let mut size = TAKE_IN_MAX;
        loop {
            match self.store.retry_parked(activity, size, self.clock.now_ms()).await.map_err(Into::into) {
                Ok(Retried::Done) => {
                    tracing::warn!(%activity, "all entries of a parked sale are taken in; it goes on");
                    return Ok(Ok(()));
                }
                Ok(Retried::NotParked) => return Ok(Ok(())),
                Ok(Retried::More) => {}
                Err(error) if error.outlook() == Outlook::WillPass => return Err(error.into()),
                // The first entry is missing, so fewer of them are no help.
                Err(error @ SaleError::Gap { .. }) => return Ok(Err(error)),
                Err(_) if size > 1 => size /= 2,
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}
