//! The ledger house as a part of its own: it can die with requests in hand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Counters, Outcome},
};
use foundation::Clock;
use ledger::{
    LedgerClient, LedgerUnavailable,
    house::{LedgerHouse, Reply, Request},
};
use tokio::sync::{Notify, oneshot};

use crate::{log::SimLog, store::SimStore, world::World};

/// The way to the ledger of one run.
#[derive(Clone)]
pub(crate) struct SimLedger {
    world: World,
    requests: Arc<Mutex<VecDeque<Request>>>,
    arrived: Arc<Notify>,
}

impl SimLedger {
    /// A way that leads nowhere until [`SimLedger::serve`] runs.
    pub(crate) fn new(world: World) -> Self {
        Self { world, requests: Arc::default(), arrived: Arc::default() }
    }

    fn requests(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request on its way.
    pub(crate) fn send(&self, request: Request) {
        self.requests().push_back(request);
        self.arrived.notify_one();
    }

    /// The ledger's part: rebuilt on what log and database have, it answers until it is killed.
    pub(crate) async fn serve(self, log: SimLog, store: SimStore) {
        let mut house = LedgerHouse::new(log, store);
        loop {
            let arrived = self.arrived.notified();
            let count = 1 + self.world.index(8);
            let batch: Vec<Request> = {
                let mut requests = self.requests();
                let count = count.min(requests.len());
                requests.drain(..count).collect()
            };
            if batch.is_empty() {
                arrived.await;
                continue;
            }
            house.serve(batch, self.world.now_ms()).await;
            self.world.pause().await;
        }
    }

    /// What had been sent is lost with the ledger.
    pub(crate) fn crash(&self) {
        self.requests().clear();
    }

    async fn ask<T: Send + 'static>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, LedgerUnavailable> {
        self.world.pause().await;
        let (sender, answer) = oneshot::channel();
        // The caller may be gone.
        self.send(request(Box::new(move |result| drop(sender.send(result)))));
        let answer = answer.await.unwrap_or_else(|_| Err(LedgerUnavailable("the ledger died".to_owned())));
        self.world.pause().await;
        answer
    }
}

impl LedgerClient for SimLedger {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        self.ask(|reply| Request::Open { activity, stock, rules, reply }).await
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ask(|reply| Request::Act { commands, reply }).await
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.ask(|reply| Request::Counters { activity, reply }).await
    }
}
