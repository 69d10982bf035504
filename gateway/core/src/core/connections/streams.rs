//! Orders as server-sent events (WHATWG HTML section 9.2): who follows which order.

use std::collections::BTreeMap;

use contract::{OrderId, UserId};

use super::phase::Streaming;
use crate::{
    board::{Status, status_json},
    ids::ConnId,
};

/// The event streams that are open.
#[derive(Debug)]
pub(super) struct Streams {
    followers: BTreeMap<OrderId, Vec<ConnId>>,
    by_user: BTreeMap<UserId, usize>,
    open: usize,
    streams_max: usize,
    per_user_max: usize,
}

impl Streams {
    pub(super) const fn new(streams_max: usize, per_user_max: usize) -> Self {
        Self { followers: BTreeMap::new(), by_user: BTreeMap::new(), open: 0, streams_max, per_user_max }
    }

    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) const fn is_full(&self) -> bool {
        self.open >= self.streams_max
    }

    /// Whether the user has as many streams as one user may have.
    pub(super) fn is_full_for(&self, user: UserId) -> bool {
        self.by_user.get(&user).is_some_and(|open| *open >= self.per_user_max)
    }

    /// The connections that follow `order`.
    pub(super) fn followers(&self, order: OrderId) -> Vec<ConnId> {
        self.followers.get(&order).cloned().unwrap_or_default()
    }

    pub(super) fn add(&mut self, streaming: &Streaming, id: ConnId) {
        assert!(self.open < self.streams_max, "{} streams are open", self.open);
        self.open += 1;
        *self.by_user.entry(streaming.user).or_default() += 1;
        self.followers.entry(streaming.order).or_default().push(id);
    }

    pub(super) fn remove(&mut self, streaming: &Streaming, id: ConnId) {
        let Streaming { order, user, .. } = *streaming;
        let Some(followers) = self.followers.get_mut(&order) else { return };
        let before = followers.len();
        followers.retain(|follower| *follower != id);
        let removed = before - followers.len();
        assert!(removed <= 1 && removed <= self.open, "{removed} streams of {id:?}, {} open", self.open);
        self.open -= removed;
        if let Some(open) = self.by_user.get_mut(&user) {
            *open -= removed;
            if *open == 0 {
                self.by_user.remove(&user);
            }
        }
        if followers.is_empty() {
            self.followers.remove(&order);
        }
    }
}

/// The event of a status.
pub(super) fn event(order: OrderId, status: Status) -> String {
    format!("event: status\ndata: {}\n\n", status_json(order, status))
}
