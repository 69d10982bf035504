//! Virtual time, randomness and a scheduler: everything that happens in a run comes from one seed.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use foundation::Clock;

/// The instant a run begins: any will do, so a plain one.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

/// Shared by all that runs. Cloning it is cheap.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    now_ms: u64,
    rng: fastrand::Rng,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    /// Folds every decision, so that two runs can be compared.
    trace: u64,
}

impl World {
    /// A world in which everything follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let inner = Inner { now_ms: BEGIN_MS, rng, timers: BTreeMap::new(), next_timer: 0, trace: seed };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `below` (which is at least 1).
    pub fn below(&self, below: u64) -> u64 {
        let mut inner = self.inner();
        let drawn = inner.rng.u64(0..below);
        inner.trace = (inner.trace ^ drawn).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        drawn
    }

    /// A place in something of `len` (at least 1) places.
    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True once in `every` draws.
    pub fn one_in(&self, every: u64) -> bool {
        self.below(every) == 0
    }

    /// A number for every decision that was drawn so far, in order.
    pub fn trace(&self) -> u64 {
        self.inner().trace
    }

    /// Lets others run, for a while that the seed decides: where a real system would wait for a
    /// thread, a disk or a wire. A crash falls in between.
    pub async fn pause(&self) {
        match self.below(8) {
            0 => self.sleep_until(self.now_ms() + self.below(30)).await,
            turns => {
                for _ in 0..turns % 4 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Moves time to the next timer; false where none is set.
    fn advance(&self) -> bool {
        let mut woken = Vec::new();
        {
            let mut inner = self.inner();
            let Some(((at_ms, _), _)) = inner.timers.first_key_value() else { return false };
            let now_ms = inner.now_ms.max(*at_ms);
            inner.now_ms = now_ms;
            let later = inner.timers.split_off(&(now_ms + 1, 0));
            woken.extend(std::mem::replace(&mut inner.timers, later).into_values());
        }
        woken.into_iter().for_each(Waker::wake);
        true
    }
}

impl Clock for World {
    fn now_ms(&self) -> u64 {
        self.inner().now_ms
    }

    async fn sleep_until(&self, at_ms: u64) {
        std::future::poll_fn(|context| {
            let mut inner = self.inner();
            if inner.now_ms >= at_ms {
                return Poll::Ready(());
            }
            if at_ms == u64::MAX {
                return Poll::Pending;
            }
            let id = inner.next_timer;
            inner.next_timer += 1;
            inner.timers.insert((at_ms, id), context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task<P> {
    part: P,
    future: Pin<Box<dyn Future<Output = ()>>>,
    ready: Arc<Flag>,
}

/// Runs tasks one poll at a time, in an order that the seed decides. `P` names the part of the system
/// a task belongs to: what dies together.
pub struct Scheduler<P> {
    world: World,
    tasks: BTreeMap<u64, Task<P>>,
    next_task: u64,
    /// Parts that do not run at present.
    paused: Vec<P>,
}

impl<P: Copy + PartialEq> Scheduler<P> {
    /// Nothing runs yet.
    pub fn new(world: World) -> Self {
        Self { world, tasks: BTreeMap::new(), next_task: 0, paused: Vec::new() }
    }

    /// Adds a task to `part`.
    pub fn spawn(&mut self, part: P, future: impl Future<Output = ()> + 'static) {
        let ready = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.insert(self.next_task, Task { part, future: Box::pin(future), ready });
        self.next_task += 1;
    }

    /// kill -9: the part's tasks end at the await they had reached.
    pub fn kill(&mut self, part: P) {
        self.tasks.retain(|_, task| task.part != part);
        self.resume(part);
    }

    /// SIGSTOP: time goes on without the part.
    pub fn pause(&mut self, part: P) {
        self.paused.push(part);
    }

    /// SIGCONT.
    pub fn resume(&mut self, part: P) {
        self.paused.retain(|paused| *paused != part);
    }

    /// Whether a task of `part` is there.
    pub fn runs(&self, part: P) -> bool {
        self.tasks.values().any(|task| task.part == part)
    }

    /// Polls one task that is ready, or moves time; false where nothing can ever happen again.
    pub fn step(&mut self) -> bool {
        let is_ready = |task: &Task<P>| task.ready.0.load(Ordering::Relaxed) && !self.paused.contains(&task.part);
        let ready: Vec<u64> = self.tasks.iter().filter(|(_, task)| is_ready(task)).map(|(id, _)| *id).collect();
        if ready.is_empty() {
            return self.world.advance();
        }
        let id = ready[self.world.index(ready.len())];
        if let Some(task) = self.tasks.get_mut(&id) {
            task.ready.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(task.ready.clone());
            if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&id);
            }
        }
        true
    }
}
