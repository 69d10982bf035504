//! What the mall asks of the ledgers.

use std::collections::BTreeSet;

use commit_log::{Consumer, Log, Record, next_offsets};
use contract::{
    ActivityId,
    record::{LedgerCommand, Record as _},
    stock::Outcome,
    topic,
};
use domain::SaleStore;
use foundation::Clock;
use ledger::{LedgerClient, LedgerUnavailable};

use crate::{Worker, WorkerError, bury, commit, rewind};

const GROUP: &str = "order-core.keeper";
const BATCH_MAX: usize = 256;
/// Between two tries of commands whose order the ledger does not know: it may be about to be opened.
const UNKNOWN_PAUSE_MS: u64 = 1_000;

/// Carries out settles, releases and restocks. A command is committed once the ledger has answered, and
/// one that the ledger can't carry out goes to the dead letters. A ledger that was open and is lost can't
/// answer: its commands wait until it is rebuilt.
#[derive(Debug)]
pub struct Keeper<L: Log, S, K, C> {
    log: L,
    consumer: L::Consumer,
    store: S,
    ledgers: K,
    clock: C,
}

impl<L: Log, S: SaleStore, K: LedgerClient, C: Clock> Keeper<L, S, K, C> {
    /// Joins the keepers.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn join(log: L, store: S, ledgers: K, clock: C) -> Result<Self, WorkerError> {
        let consumer = log.join(GROUP, &[topic::COMMANDS]).await?;
        Ok(Self { log, consumer, store, ledgers, clock })
    }

    async fn carry_out(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        let mut asked: Vec<(&Record, LedgerCommand)> = Vec::with_capacity(records.len());
        let mut dead = Vec::new();
        for record in records {
            match LedgerCommand::decode(&record.value) {
                Ok(command) => asked.push((record, command)),
                Err(error) => dead.push((record.clone(), error.to_string())),
            }
        }
        for attempt in 1..=topic::POISON_TRIES {
            let commands = asked.iter().map(|(_, command)| *command).collect();
            let outcomes = self.ledgers.act(commands).await?;
            assert_eq!(outcomes.len(), asked.len(), "the ledger answers each command");
            let mut unknown = Vec::new();
            for ((record, command), outcome) in asked.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Done => {}
                    Outcome::UnknownOrder => unknown.push((record, command)),
                    other @ (Outcome::Held { .. }
                    | Outcome::SoldOut
                    | Outcome::LimitReached
                    | Outcome::NotStarted
                    | Outcome::Ended
                    | Outcome::RateLimited
                    | Outcome::KeyReused
                    | Outcome::Conflict
                    | Outcome::Refused) => {
                        dead.push((record.clone(), format!("the ledger answered {other:?} to {command:?}")))
                    }
                }
            }
            check_not_lost(&self.store, &self.ledgers, &unknown).await?;
            asked = unknown;
            if asked.is_empty() || attempt == topic::POISON_TRIES {
                break;
            }
            self.clock.sleep_until(self.clock.now_ms() + UNKNOWN_PAUSE_MS).await;
        }
        let letter = |(record, command): (&Record, LedgerCommand)| {
            (record.clone(), format!("the ledger answered {:?} to {command:?}", Outcome::UnknownOrder))
        };
        dead.extend(asked.into_iter().map(letter));
        bury(&self.log, GROUP, dead).await?;
        Ok(())
    }
}

impl<L: Log, S: SaleStore, K: LedgerClient, C: Clock> Worker for Keeper<L, S, K, C> {
    const NAME: &'static str = "keeper";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let records = self.consumer.poll(BATCH_MAX).await?;
        let result = match self.carry_out(&records).await {
            Ok(()) => commit(&mut self.consumer, next_offsets(&records)).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            rewind(&mut self.consumer, &records);
        }
        result
    }
}

/// Fails where the database knows the opening of a ledger that is not there.
async fn check_not_lost(
    store: &impl SaleStore,
    ledgers: &impl LedgerClient,
    unknown: &[(&Record, LedgerCommand)],
) -> Result<(), WorkerError> {
    let activities: BTreeSet<ActivityId> = unknown.iter().map(|(_, command)| command.activity).collect();
    for activity in activities {
        let is_open = ledgers.counters(activity).await?.is_some();
        if !is_open && store.audit_counts(activity).await.map_err(WorkerError::store)?.is_some() {
            let reason = format!("activity {activity}: its ledger was open and is lost; it is to be rebuilt");
            return Err(LedgerUnavailable(reason).into());
        }
    }
    Ok(())
}
