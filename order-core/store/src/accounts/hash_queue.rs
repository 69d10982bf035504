//! Who waits for a hash: few at a time, fair by client, and sign-ins before registrations.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StoreError;

/// Hashes at once: each keeps a core busy for a quarter of a second.
const HASHES_MAX: usize = 2;
/// Requests of one kind that wait for a hash; one more is refused.
const QUEUE_MAX: usize = 64;
/// Requests of one client that wait for a hash; one more is refused.
const OF_CLIENT_MAX: usize = 2;

/// What a hash is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A password is checked or changed.
    SignIn,
    /// An account is made. It waits until no sign-in does.
    Registration,
}

/// The queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct HashQueue {
    running: Arc<Semaphore>,
    places: Arc<Mutex<Places>>,
    /// Sign-ins that wait for their turn.
    sign_ins: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Places {
    /// By client; a client without places has no entry.
    of_client: HashMap<u128, usize>,
    sign_ins: usize,
    registrations: usize,
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Place {
    queue: HashQueue,
    client: u128,
    lane: Lane,
}

impl HashQueue {
    pub(crate) fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(HASHES_MAX)), places: Arc::default(), sign_ins: Arc::default() }
    }

    /// A place for `client`; `None` where too many wait already.
    pub(crate) fn join(&self, client: u128, lane: Lane) -> Option<Place> {
        let mut places = self.places();
        let of_client = places.of_client.get(&client).copied().unwrap_or_default();
        if of_client >= OF_CLIENT_MAX || *places.of_lane(lane) >= QUEUE_MAX {
            return None;
        }
        places.of_client.insert(client, of_client + 1);
        *places.of_lane(lane) += 1;
        Some(Place { queue: self.clone(), client, lane })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing between two changes of it can panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    const fn of_lane(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::SignIn => &mut self.sign_ins,
            Lane::Registration => &mut self.registrations,
        }
    }
}

impl Place {
    /// Waits for the turn. The place is given up then; the permit lasts as long as the hash.
    pub(crate) async fn turn(self) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = || async {
            let permit = Arc::clone(&self.queue.running).acquire_owned().await;
            permit.map_err(|_| StoreError::Unavailable("the process is stopping".to_owned()))
        };
        match self.lane {
            Lane::SignIn => {
                let _waiting = Waiting::new(&self.queue.sign_ins);
                permit().await
            }
            Lane::Registration => loop {
                let permit = permit().await?;
                if self.queue.sign_ins.load(Ordering::Acquire) == 0 {
                    return Ok(permit);
                }
                // The request that waits longest is next, and this one queues behind all of them.
                drop(permit);
                tokio::task::yield_now().await;
            },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.queue.places();
        *places.of_lane(self.lane) -= 1;
        match places.of_client.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                places.of_client.remove(&self.client);
            }
        }
    }
}

/// Counts a sign-in for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_has_two_places_and_gives_them_back() {
        let queue = HashQueue::new();
        let (first, second) = (queue.join(1, Lane::SignIn), queue.join(1, Lane::Registration));
        assert!(first.is_some() && second.is_some());
        assert!(queue.join(1, Lane::SignIn).is_none());
        assert!(queue.join(2, Lane::SignIn).is_some(), "another client");
        drop(first);
        let third = queue.join(1, Lane::SignIn).unwrap();
        let _running = third.turn().await.unwrap();
        assert!(queue.join(1, Lane::SignIn).is_some(), "a hash that runs does not wait");
        drop(second);
        let places = queue.places();
        assert_eq!((places.of_client.len(), places.registrations), (0, 0));
    }

    #[tokio::test]
    async fn a_lane_has_its_limit() {
        let queue = HashQueue::new();
        let places: Vec<_> = (0..QUEUE_MAX).map(|client| queue.join(client as u128, Lane::Registration)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(queue.join(1_000, Lane::Registration).is_none());
        assert!(queue.join(1_000, Lane::SignIn).is_some(), "sign-ins have places of their own");
    }

    #[tokio::test]
    async fn registrations_yield_to_sign_ins() {
        let queue = HashQueue::new();
        let running = [queue.join(1, Lane::SignIn).unwrap().turn().await.unwrap(), {
            queue.join(1, Lane::SignIn).unwrap().turn().await.unwrap()
        }];
        let mut registration = Box::pin(queue.join(2, Lane::Registration).unwrap().turn());
        let mut sign_in = Box::pin(queue.join(3, Lane::SignIn).unwrap().turn());
        assert!(registration.as_mut().now_or_never().is_none() && sign_in.as_mut().now_or_never().is_none());
        let [first, second] = running;
        drop(first);
        assert!(registration.as_mut().now_or_never().is_none(), "it came first, and yields");
        let third = sign_in.now_or_never().unwrap().unwrap();
        assert!(registration.as_mut().now_or_never().is_none());
        drop(second);
        let _fourth = registration.await.unwrap();
        drop(third);
    }
}
