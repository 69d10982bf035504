//! One core's conversation with Redis, without the socket: bytes out, bytes in.
//!
//! Replies come in the order of the commands. A batch that was not answered in time leaves its slot
//! behind, which swallows the reply that still comes: were the slot taken away, every later reply would
//! reach the wrong buyers. While such a slot is open nothing new is sent.

use std::{collections::VecDeque, time::Duration};

use contract::ledger::{BatchReply, Window};
use gateway_core::{Batch, Unavailable};
use ledger::redis::wire::{self, Caller, Script, pack_reserve};
use redis::{Cmd, RedisConnectionInfo, Value, cmd};

use super::frame;

/// A connection that has been silent for so long, with replies open, is given up.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why the connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("these bytes are no reply of Redis")]
    Malformed,
    #[error("a reply to nothing")]
    Unasked,
    #[error("Redis refuses the greeting: {0}")]
    Refused(String),
    #[error("Redis is a replica and can't be written")]
    ReadOnly,
    #[error("no reply within {SILENCE_MAX:?}")]
    Silent,
}

/// What the next reply answers.
#[derive(Debug)]
enum Slot {
    /// A command of the greeting that must succeed.
    Greeting,
    /// The last one of the greeting: who the server is.
    Server,
    Batch(Batch),
    /// Nobody waits for it any more.
    Abandoned,
}

/// The conversation.
#[derive(Debug)]
pub(super) struct Pipe {
    login: RedisConnectionInfo,
    window: Window,
    reply_timeout: Duration,
    /// The server's run id, once it has greeted back.
    run: Option<String>,
    /// What is awaited, and since when.
    slots: VecDeque<(Slot, Duration)>,
    abandoned: usize,
    out: Vec<u8>,
    input: Vec<u8>,
    replies: VecDeque<(Batch, Result<BatchReply, Unavailable>)>,
}

impl Pipe {
    pub(super) fn new(login: RedisConnectionInfo, window: Window, reply_timeout: Duration) -> Self {
        Self {
            login,
            window,
            reply_timeout,
            run: None,
            slots: VecDeque::new(),
            abandoned: 0,
            out: Vec::new(),
            input: Vec::new(),
            replies: VecDeque::new(),
        }
    }

    /// A new connection: who we are, who the server is, and the script.
    pub(super) fn handle_connected(&mut self, now: Duration) {
        assert!(self.slots.is_empty() && self.run.is_none(), "the last connection is not over");
        if let Some(password) = self.login.password() {
            let mut auth = cmd("AUTH");
            if let Some(username) = self.login.username() {
                auth.arg(username);
            }
            self.ask(auth.arg(password), Slot::Greeting, now);
        }
        if self.login.db() != 0 {
            self.ask(cmd("SELECT").arg(self.login.db()), Slot::Greeting, now);
        }
        self.ask(cmd("INFO").arg("server"), Slot::Server, now);
    }

    fn ask(&mut self, command: &Cmd, slot: Slot, now: Duration) {
        command.write_packed_command(&mut self.out);
        self.slots.push_back((slot, now));
    }

    /// Whether a batch would be sent now, and not refused.
    pub(super) fn is_open(&self) -> bool {
        self.run.is_some() && self.abandoned == 0
    }

    /// Sends a batch; where there is no way to the ledger it is answered so.
    pub(super) fn send(&mut self, batch: Batch, now: Duration) {
        let Some(run) = self.run.as_deref().filter(|_| self.abandoned == 0) else {
            self.replies.push_back((batch, Err(Unavailable::Unknown)));
            return;
        };
        let caller = Caller { run, now_ms: None, window: self.window };
        pack_reserve(&mut self.out, Script::Known, caller, batch.activity, &batch.reservations);
        self.slots.push_back((Slot::Batch(batch), now));
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// Where the connection must be given up.
    pub(super) fn handle_input(&mut self, bytes: &[u8], now: Duration) -> Result<(), Broken> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = frame::length(&input[at..]).map_err(|_| Broken::Malformed)? {
            let value = redis::parse_redis_value(&input[at..at + length]).map_err(|_| Broken::Malformed)?;
            self.handle_reply(&value, now)?;
            at += length;
        }
        input.drain(..at);
        self.input = input;
        Ok(())
    }

    fn handle_reply(&mut self, value: &Value, now: Duration) -> Result<(), Broken> {
        let (slot, _) = self.slots.pop_front().ok_or(Broken::Unasked)?;
        match (slot, value) {
            (Slot::Abandoned, _) => self.abandoned -= 1,
            (Slot::Batch(batch), Value::ServerError(error)) => match error.code() {
                // Nothing happened: the same batch again, with the script's text.
                "NOSCRIPT" if self.is_open() => self.send_text(batch, now),
                "FROZEN" => self.replies.push_back((batch, Err(Unavailable::Frozen))),
                "READONLY" => {
                    self.replies.push_back((batch, Err(Unavailable::Unknown)));
                    return Err(Broken::ReadOnly);
                }
                code => {
                    tracing::warn!(code, detail = error.details(), "Redis does not carry out a batch");
                    self.replies.push_back((batch, Err(Unavailable::Unknown)));
                }
            },
            (Slot::Batch(batch), value) => {
                let reply = wire::parse_reserve(value, &batch.reservations);
                let reply = reply.map_err(|error| {
                    tracing::error!(%error, "the ledger's reply can't be read");
                    Unavailable::Unknown
                });
                self.replies.push_back((batch, reply));
            }
            (Slot::Greeting | Slot::Server, Value::ServerError(error)) => {
                return Err(Broken::Refused(error.to_string()));
            }
            (Slot::Greeting, _) => {}
            (Slot::Server, value) => {
                let run = wire::run_id(value).ok_or_else(|| Broken::Refused("no run_id in INFO server".to_owned()))?;
                tracing::info!(run, "connected to Redis");
                self.run = Some(run);
            }
        }
        Ok(())
    }

    fn send_text(&mut self, batch: Batch, now: Duration) {
        let Some(run) = self.run.as_deref() else { return };
        let caller = Caller { run, now_ms: None, window: self.window };
        pack_reserve(&mut self.out, Script::Text, caller, batch.activity, &batch.reservations);
        self.slots.push_back((Slot::Batch(batch), now));
    }

    /// Abandons what is not answered in time.
    ///
    /// # Errors
    /// Where the connection has been silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Duration) -> Result<(), Broken> {
        let oldest = self.slots.front().map(|(_, since)| now.saturating_sub(*since));
        if oldest.is_some_and(|waited| waited >= SILENCE_MAX) {
            return Err(Broken::Silent);
        }
        let late = |since: &Duration| now.saturating_sub(*since) >= self.reply_timeout;
        for (slot, _) in self.slots.iter_mut().take_while(|(_, since)| late(since)) {
            if let Slot::Batch(_) = slot
                && let Slot::Batch(batch) = std::mem::replace(slot, Slot::Abandoned)
            {
                self.abandoned += 1;
                self.replies.push_back((batch, Err(Unavailable::Unknown)));
            }
        }
        Ok(())
    }

    /// The connection is gone, and with it every reply.
    pub(super) fn handle_lost(&mut self) {
        for (slot, _) in self.slots.drain(..) {
            if let Slot::Batch(batch) = slot {
                self.replies.push_back((batch, Err(Unavailable::Unknown)));
            }
        }
        self.abandoned = 0;
        self.run = None;
        self.out.clear();
        self.input.clear();
    }

    /// What became of a batch.
    pub(super) fn poll_reply(&mut self) -> Option<(Batch, Result<BatchReply, Unavailable>)> {
        self.replies.pop_front()
    }

    /// Appends what is to be written to `out`; whether there was anything.
    pub(super) fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        out.append(&mut self.out);
        any
    }
}
