//! Connections: what is known of each, and the table of them.

use std::{net::IpAddr, time::Duration};

use contract::{ActivityId, OrderId, UserId};

use crate::{
    http::{Exchange, Receiver},
    pipe::Ticket,
};

/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES_MAX: usize = 16 * 1024;

/// A connection of this core. It is never given to another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// Its place in tables of the core's connections; another one takes it once this one is closed.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// What a connection is at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Between requests, or inside one.
    Receiving,
    /// Its reservation is in the pipe.
    Reserving(Reserving),
    /// The shell was asked for the text of `/metrics`.
    Metrics(Exchange),
    /// It follows an order.
    Streaming(Streaming),
}

/// A request whose reservation is in the pipe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserving {
    pub(super) ticket: Ticket,
    pub(super) exchange: Exchange,
    pub(super) activity: ActivityId,
    pub(super) quantity: u32,
}

/// A stream of one order's events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streaming {
    pub(super) order: OrderId,
    pub(super) user: UserId,
    pub(super) http_1_0: bool,
}

/// What a deadline bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Request,
    Header,
    Body,
    Reply,
    Heartbeat,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: IpAddr,
    pub(super) phase: Phase,
    pub(super) receiver: Receiver,
    /// Bytes that arrived and were not used yet; begins where a request does.
    pub(super) stash: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// Input stopped being used because `out` was full.
    pub(super) stalled: bool,
    pub(super) eof: bool,
    /// Nothing more is read; what is in `out` is the last.
    pub(super) closing: bool,
    pub(super) deadline: Option<Duration>,
    /// When what the driver is writing must be written.
    pub(super) write_by: Option<Duration>,
    /// The client did not read in time: nothing more is written.
    pub(super) cut: bool,
    /// The earliest timer that is set for it.
    pub(super) timer_at: Option<Duration>,
    /// It stands in the queue of `poll_ready`.
    pub(super) announced: bool,
    /// What the deadline is for; `None` where a new one is due.
    pub(super) deadline_for: Option<Awaited>,
}

impl Connection {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self {
            peer,
            phase: Phase::Receiving,
            receiver: Receiver::new(),
            stash: Vec::new(),
            out: Vec::new(),
            stalled: false,
            eof: false,
            closing: false,
            deadline: None,
            write_by: None,
            cut: false,
            timer_at: None,
            announced: false,
            deadline_for: None,
        }
    }

    pub(super) fn awaited(&self) -> Awaited {
        match self.phase {
            Phase::Receiving if self.stash.is_empty() || self.stalled => Awaited::Request,
            Phase::Receiving if self.receiver.in_body() => Awaited::Body,
            Phase::Receiving => Awaited::Header,
            Phase::Reserving(_) | Phase::Metrics(_) => Awaited::Reply,
            Phase::Streaming(_) => Awaited::Heartbeat,
        }
    }

    /// When something is to be done about the connection, whatever it is.
    pub(super) fn due(&self) -> Option<Duration> {
        self.deadline.into_iter().chain(self.write_by).min()
    }

    /// Goes on from an answered request. `last`: it closes once nothing is left to wait for.
    pub(super) fn enter(&mut self, phase: Phase, last: bool) {
        self.closing = last && matches!(phase, Phase::Receiving);
        self.phase = phase;
        self.deadline_for = None;
    }

    /// Hands the answer over: appended to `out`, or in exchange for its empty buffer.
    pub(super) fn take_out(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(out, &mut self.out);
        } else {
            out.append(&mut self.out);
        }
        if self.out.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        if self.stash.is_empty() && self.stash.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.stash = Vec::new();
        }
    }
}

/// A place for a connection.
#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// The table of connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
}

impl Connections {
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) fn insert(&mut self, connection: Connection) -> ConnId {
        self.open += 1;
        let connection = Some(Box::new(connection));
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            assert!(slot.connection.is_none(), "place {index} is taken");
            slot.connection = connection;
            return ConnId { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or_else(|_| panic!("more than 2^32 connections"));
        self.slots.push(Slot { generation: 0, connection });
        ConnId { index, generation: 0 }
    }

    fn slot(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        let slot = self.slots.get(id.index()).filter(|slot| slot.generation == id.generation)?;
        slot.connection.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slot(id)?.connection.as_deref_mut()
    }

    /// Takes a connection out for as long as something is done with it and the rest of the core.
    pub(super) fn lend(&mut self, id: ConnId) -> Option<Box<Connection>> {
        self.slot(id)?.connection.take()
    }

    pub(super) fn give_back(&mut self, id: ConnId, connection: Box<Connection>) {
        let Some(slot) = self.slot(id) else { panic!("the place of {id:?} was given away") };
        slot.connection = Some(connection);
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slot(id)?;
        let connection = slot.connection.take()?;
        // A place that ran out of generations is left empty rather than given out twice.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.index);
        }
        self.open -= 1;
        Some(connection)
    }

    /// All that are open.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.slots
            .iter()
            .zip(0..)
            .filter(|(slot, _)| slot.connection.is_some())
            .map(|(slot, index)| ConnId { index, generation: slot.generation })
    }
}
