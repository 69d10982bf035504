//! A core's connection to the simulated Redis, as `gateway/src/redis/link.rs` keeps it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use contract::stock::{BatchReply, Window};
use foundation::Clock;
use gateway_core::{Batch, BatchId, PipeError, RedisConfig, RedisLogin, RedisPipe, Unavailable};
use ledger::{
    confirmed::{RecentHolds, UnconfirmedLimits},
    redis::wire,
};
use tokio::sync::Notify;

use crate::{
    redis::{Session, SimRedis},
    world::{BEGIN_MS, World},
};

/// How long a batch waits for its reply.
const REPLY_TIMEOUT: Duration = Duration::from_millis(900);
/// Between two attempts to connect.
const RECONNECT_EVERY_MS: u64 = 50;
/// One reply in this many is late.
const LATE_IN: u64 = 60;
const LATE_MAX_MS: u64 = 3_000;

pub(crate) struct Link {
    world: World,
    redis: SimRedis,
    pipe: RefCell<RedisPipe>,
    pub(crate) recent: Arc<RecentHolds>,
    /// Something is to be written, or the connection is to be given up.
    writer: Notify,
    broken: Cell<bool>,
    bell: RefCell<Option<Arc<Notify>>>,
    forgets: bool,
}

impl Link {
    /// `forgets`: a planted fault, a core that remembers nothing.
    pub(crate) fn new(world: World, redis: SimRedis, forgets: bool) -> Rc<Self> {
        let config = RedisConfig {
            login: RedisLogin::default(),
            script: wire::reserve_script(),
            window: Window::default(),
            reply_timeout: REPLY_TIMEOUT,
        };
        Rc::new(Self {
            world,
            redis,
            pipe: RefCell::new(RedisPipe::new(config)),
            recent: Arc::new(RecentHolds::new(UnconfirmedLimits::default())),
            writer: Notify::new(),
            broken: Cell::new(false),
            bell: RefCell::default(),
            forgets,
        })
    }

    /// Rings `bell` when there may be replies.
    pub(crate) fn rings(&self, bell: &Arc<Notify>) {
        *self.bell.borrow_mut() = Some(bell.clone());
    }

    pub(crate) fn send(&self, batch: Batch) {
        if self.recent.is_full(self.world.now_ms()) {
            self.pipe.borrow_mut().refuse(batch);
        } else {
            self.pipe.borrow_mut().send(batch, self.now());
        }
        self.writer.notify_one();
    }

    pub(crate) fn tick(&self) {
        if self.pipe.borrow_mut().handle_timeout(self.now()).is_err() {
            self.broken.set(true);
        }
        self.writer.notify_one();
    }

    pub(crate) fn poll_reply(&self) -> Option<(BatchId, Result<BatchReply, Unavailable>)> {
        let (batch, reply) = self.pipe.borrow_mut().poll_reply()?;
        if let Ok(reply) = &reply
            && !self.forgets
        {
            self.recent.remember(batch.activity, &batch.reservations, reply, self.world.now_ms());
        }
        Some((batch.id, reply))
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.world.now_ms() - BEGIN_MS)
    }

    fn ring(&self) {
        if let Some(bell) = &*self.bell.borrow() {
            bell.notify_one();
        }
    }

    /// Connects, talks, and connects again.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            if let Some(session) = self.redis.connect() {
                self.pipe.borrow_mut().handle_connected(self.now());
                while self.talk(session).await.is_ok() {}
                self.pipe.borrow_mut().handle_lost();
                self.broken.set(false);
                self.ring();
            }
            self.world.sleep_until(self.world.now_ms() + RECONNECT_EVERY_MS).await;
        }
    }

    async fn talk(&self, session: Session) -> Result<(), PipeError> {
        let mut out = Vec::new();
        loop {
            let written = self.writer.notified();
            if self.broken.get() || !self.redis.is_connected(session) {
                return Err(PipeError::Silent);
            }
            if self.pipe.borrow_mut().poll_transmit(&mut out) {
                break;
            }
            written.await;
        }
        self.world.pause().await;
        let replies = self.redis.send(session, &out).ok_or(PipeError::Silent)?.concat();
        if self.world.one_in(LATE_IN) {
            self.world.sleep_until(self.world.now_ms() + self.world.below(LATE_MAX_MS)).await;
        }
        self.world.pause().await;
        if !self.redis.is_connected(session) {
            return Err(PipeError::Silent);
        }
        let (first, second) = replies.split_at(self.world.index(1 + replies.len()));
        for piece in [first, second] {
            self.pipe.borrow_mut().handle_input(piece, self.now())?;
            while self.pipe.borrow_mut().poll_event().is_some() {}
            self.ring();
            self.world.pause().await;
        }
        Ok(())
    }
}
