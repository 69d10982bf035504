//! One core thread: the sans-IO core, the connections that wait for it, and its link to the ledgers.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use foundation::{
    Clock, SystemClock,
    metrics::{Histogram, Registry, STAGE_HELP, stage},
};
use gateway_core::{Batch, BatchId, ConnId, ConnectionRefused, Control, Core, Next, Now, Unavailable};

use ledger::confirmed::RecentHolds;

use crate::{
    captcha::CaptchaHandle,
    figures::{BATCH_STAGE, Figures},
    link::{Ledgers, ReserveLink},
    mailbox::{LedgerReply, ReplySender},
    spans,
};

#[cfg(feature = "redis")]
use crate::redis;

/// What the tasks of one core thread share. No borrow crosses an await.
pub(crate) struct Shard {
    core: RefCell<Core>,
    /// Tasks that wait for the core or did so last, by [`ConnId::index`]. A spurious wake is harmless.
    parked: RefCell<Vec<Option<(ConnId, Waker)>>>,
    /// Set when the core may have a batch to send; the flusher's waker while it waits for that.
    sendable: Cell<bool>,
    flusher: Cell<Option<Waker>>,
    ledgers: LedgerLink,
    mailbox: ReplySender,
    captchas: CaptchaHandle,
    figures: Arc<Figures>,
    metrics: Registry,
    started: Instant,
    /// When each batch without a reply was sent; an activity has one at a time.
    in_flight: RefCell<Vec<(BatchId, Instant)>>,
    batch_time: Histogram,
}

/// How one core reaches the ledgers.
enum LedgerLink {
    Shared(Arc<dyn ReserveLink>),
    #[cfg(feature = "redis")]
    Redis(Rc<redis::Link>),
}

/// What a shard needs.
pub(crate) struct Parts {
    pub(crate) core: Core,
    pub(crate) ledgers: Ledgers,
    /// Takes the holds that the ledgers may forget.
    pub(crate) recent: Arc<RecentHolds>,
    pub(crate) mailbox: ReplySender,
    pub(crate) captchas: CaptchaHandle,
    pub(crate) figures: Arc<Figures>,
    pub(crate) metrics: Registry,
    /// The zero of [`Now::mono`]; the core was made with it.
    pub(crate) started: Instant,
}

impl Shard {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let Parts { core, ledgers, recent, mailbox, captchas, figures, metrics, started } = parts;
        // Ledgers in this process forget nothing.
        #[cfg(not(feature = "redis"))]
        drop(recent);
        let ledgers = match ledgers {
            Ledgers::Shared(link) => LedgerLink::Shared(link),
            #[cfg(feature = "redis")]
            Ledgers::Redis(settings) => LedgerLink::Redis(Rc::new(redis::Link::new(settings, recent))),
        };
        let (core, parked) = (RefCell::new(core), RefCell::default());
        let (sendable, flusher) = (Cell::new(false), Cell::new(None));
        let (in_flight, batch_time) = (RefCell::default(), metrics.histogram(&stage(BATCH_STAGE), STAGE_HELP));
        Rc::new(Self {
            core,
            parked,
            sendable,
            flusher,
            ledgers,
            mailbox,
            captchas,
            figures,
            metrics,
            started,
            in_flight,
            batch_time,
        })
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), wall_ms: SystemClock.now_ms() }
    }

    pub(crate) fn open(&self, peer: IpAddr) -> Result<ConnId, ConnectionRefused> {
        self.core.borrow_mut().open(peer, self.now())
    }

    pub(crate) fn poll_client(&self, id: ConnId, out: &mut Vec<u8>) -> Next {
        self.core.borrow_mut().poll_client(id, out)
    }

    pub(crate) fn is_cut(&self, id: ConnId) -> bool {
        self.core.borrow().is_cut(id)
    }

    pub(crate) fn handle_client(&self, id: ConnId, input: &[u8]) -> usize {
        let used = self.core.borrow_mut().handle_client(id, input, self.now());
        self.moved();
        used
    }

    #[cfg(feature = "may")]
    pub(crate) fn handle_request(&self, id: ConnId, request: &gateway_core::Request<'_>) {
        self.core.borrow_mut().handle_request(id, request, self.now());
        self.moved();
    }

    pub(crate) fn handle_eof(&self, id: ConnId) {
        self.core.borrow_mut().handle_eof(id);
        self.moved();
    }

    pub(crate) fn close(&self, id: ConnId) {
        self.core.borrow_mut().close(id);
        if let Some(parked) = self.parked.borrow_mut().get_mut(id.index()) {
            parked.take_if(|(of, _)| *of == id);
        }
        self.moved();
    }

    pub(crate) fn handle_reply(&self, reply: LedgerReply) {
        let (batch, reply) = reply;
        let mut in_flight = self.in_flight.borrow_mut();
        if let Some(at) = in_flight.iter().position(|(id, _)| *id == batch) {
            let (_, sent) = in_flight.swap_remove(at);
            self.batch_time.observe(sent.elapsed());
        }
        drop(in_flight);
        self.core.borrow_mut().handle_reply(batch, reply, self.now());
        self.moved();
    }

    pub(crate) fn handle_control(&self, control: Control) {
        self.core.borrow_mut().handle_control(control, self.now());
        self.moved();
    }

    /// Deadlines, and the figures that other cores show.
    pub(crate) fn tick(&self) {
        self.core.borrow_mut().handle_timeout(self.now());
        #[cfg(feature = "redis")]
        if let Some(link) = self.redis() {
            link.tick();
        }
        let captchas = self.core.borrow_mut().poll_captchas(self.now());
        if let Some(count) = captchas {
            self.captchas.render(count);
        }
        self.figures.publish(self.core.borrow().stats());
        self.moved();
    }

    pub(crate) fn drain(&self) {
        self.handle_control(Control::Drain);
    }

    pub(crate) fn connections(&self) -> usize {
        self.core.borrow().connections()
    }

    /// Leaves `waker` to be woken when the core has something for the connection.
    pub(crate) fn park(&self, id: ConnId, waker: &Waker) {
        let mut parked = self.parked.borrow_mut();
        if parked.len() <= id.index() {
            parked.resize(id.index() + 1, None);
        }
        match &mut parked[id.index()] {
            Some((of, last)) if *of == id => last.clone_from(waker),
            other => *other = Some((id, waker.clone())),
        }
    }

    /// Returns once the core may have something for the connection.
    pub(crate) async fn woken(&self, id: ConnId) {
        let mut parked = false;
        poll_fn(|context| {
            if parked {
                return Poll::Ready(());
            }
            parked = true;
            self.park(id, context.waker());
            Poll::Pending
        })
        .await;
    }

    /// After every call that may have changed the core: wakes the tasks that have something to do.
    fn moved(&self) {
        let parked = self.parked.borrow();
        let mut core = self.core.borrow_mut();
        while let Some(id) = core.poll_metrics() {
            core.handle_metrics(id, self.metrics.render().as_bytes(), self.now());
        }
        while let Some(span) = core.poll_span() {
            spans::export(span, self.started.elapsed());
        }
        while let Some(id) = core.poll_ready() {
            if let Some(Some((of, waker))) = parked.get(id.index())
                && *of == id
            {
                waker.wake_by_ref();
            }
        }
        self.sendable.set(true);
        if let Some(flusher) = self.flusher.take() {
            flusher.wake();
        }
    }

    /// Sends batches for as long as the thread runs. It polls the core after all ready tasks have run, so that requests
    /// which arrived together are sent together without a timer.
    pub(crate) async fn flush(&self) {
        loop {
            poll_fn(|context| {
                if self.sendable.take() {
                    return Poll::Ready(());
                }
                self.flusher.set(Some(context.waker().clone()));
                Poll::Pending
            })
            .await;
            // It only wakes and waits, whatever the runtime.
            tokio::task::yield_now().await;
            loop {
                let batch = self.core.borrow_mut().poll_batch();
                let Some(batch) = batch else { break };
                self.send(batch);
            }
        }
    }

    /// The core's connection to Redis, where that has the ledgers.
    #[cfg(feature = "redis")]
    pub(crate) fn redis(&self) -> Option<&Rc<redis::Link>> {
        match &self.ledgers {
            LedgerLink::Redis(link) => Some(link),
            LedgerLink::Shared(_) => None,
        }
    }

    /// Gives the core the replies of its connection to Redis, for as long as the thread runs.
    #[cfg(feature = "redis")]
    pub(crate) async fn take_replies(&self, link: &redis::Link) {
        loop {
            poll_fn(|context| link.poll_replied(context)).await;
            while let Some(reply) = link.poll_reply() {
                self.handle_reply(reply);
            }
        }
    }

    fn send(&self, batch: Batch) {
        self.in_flight.borrow_mut().push((batch.id, Instant::now()));
        match &self.ledgers {
            #[cfg(feature = "redis")]
            LedgerLink::Redis(link) => {
                link.send(batch);
            }
            LedgerLink::Shared(link) => {
                let (id, mailbox) = (batch.id, self.mailbox.clone());
                let reply = move |result: Result<_, _>| {
                    // The core thread may have ended.
                    drop(mailbox.send((id, result.map_err(|_| Unavailable::Unknown))));
                };
                link.reserve(batch, Box::new(reply));
            }
        }
    }
}
