//! One core's conversation with Redis, without the socket: bytes out, bytes in.
//!
//! Replies come in the order of the commands. A batch that was not answered in time leaves its slot behind, which takes the
//! reply that still comes: if the slot were removed, every later reply would reach the wrong buyers. While such a slot is
//! open, nothing new is sent.

mod frame;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, time::Duration};

use contract::stock::{
    BatchReply, Window,
    script::{
        Caller, Holds, ReserveScript, Unreadable, is_replica, is_replicas_error, parse_reserve, reserve_argument_count,
        reserve_arguments, run_id,
    },
};

use self::frame::Reply;
use crate::{
    http::put_decimal,
    queue::{Batch, Unavailable},
};

/// A connection that has been silent for this long with replies outstanding is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the server is asked whether it is still the master. A replica may answer without any write, with FROZEN or
/// "sold out", so the replies to batches do not show it.
const ROLE_EVERY: Duration = Duration::from_secs(1);
/// Events that are kept until the shell takes them; beyond it the newest are dropped.
const EVENTS_MAX: usize = 16;
/// Characters of an error that are reported.
const DETAILS_CHARS_MAX: usize = 200;

const _: () = assert!(ROLE_EVERY.as_nanos() < SILENCE_MAX.as_nanos(), "a healthy connection is never silent for long");

/// Why the connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipeError {
    /// The server does not speak RESP2.
    Malformed,
    /// The server sent a reply that nothing had asked for.
    Unasked,
    /// The server refuses the greeting, for this reason.
    GreetingRefused(String),
    /// The server is a replica.
    ReadOnly,
    /// There was no reply for too long.
    Silent,
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the server sent bytes that are not a Redis reply"),
            Self::Unasked => f.write_str("the server sent a reply that nothing had asked for"),
            Self::GreetingRefused(reason) => write!(f, "Redis refuses the greeting: {reason}"),
            Self::ReadOnly => f.write_str("Redis is a replica and can't be written"),
            Self::Silent => write!(f, "no reply within {SILENCE_MAX:?}"),
        }
    }
}

impl std::error::Error for PipeError {}

/// What the shell should log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisEvent {
    /// The server has greeted back; this is its run id.
    Connected(String),
    /// The server refused a batch, with this error.
    BatchRefused {
        /// The first word of the error.
        code: String,
        /// The rest of it.
        details: String,
    },
    /// The reply to a batch can't be read.
    Unreadable(Unreadable),
}

/// How a core introduces itself to Redis.
#[derive(Clone, Default)]
pub struct RedisLogin {
    /// For `AUTH`, with a password.
    pub username: Option<String>,
    /// For `AUTH`.
    pub password: Option<String>,
    /// For `SELECT`.
    pub db: u32,
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLogin").field("username", &self.username).field("db", &self.db).finish_non_exhaustive()
    }
}

/// What a [`RedisPipe`] is made with.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The core's login.
    pub login: RedisLogin,
    /// The script that reserves.
    pub script: ReserveScript,
    /// How often a user may try.
    pub window: Window,
    /// How long a batch waits for its reply.
    pub reply_timeout: Duration,
}

/// What the next reply answers.
#[derive(Debug)]
enum Slot {
    /// A command of the greeting that must succeed.
    Greeting,
    /// Whether the server is a replica.
    Role,
    /// The last command of the greeting: which run of which server this is.
    Server,
    Batch(Batch),
    /// Nothing waits for it any more.
    Abandoned,
}

#[derive(Debug)]
struct Pending {
    slot: Slot,
    since: Duration,
}

/// How the script is named in a command.
#[derive(Debug, Clone, Copy)]
enum Naming {
    Digest,
    Text,
}

/// The conversation.
///
/// The shell calls [`RedisPipe::handle_connected`] for every connection and [`RedisPipe::handle_lost`] at its end, and after
/// every other call drains [`RedisPipe::poll_reply`], [`RedisPipe::poll_event`] and [`RedisPipe::poll_transmit`].
#[derive(Debug)]
pub struct RedisPipe {
    config: RedisConfig,
    /// The server's run id, once it has greeted back.
    run: Option<String>,
    /// When the server was last asked whether it is the master.
    role_asked: Duration,
    pending: VecDeque<Pending>,
    abandoned: usize,
    out: Vec<u8>,
    input: Vec<u8>,
    replies: VecDeque<(Batch, Result<BatchReply, Unavailable>)>,
    events: VecDeque<RedisEvent>,
}

impl RedisPipe {
    /// Without a connection: batches are answered unavailable.
    pub const fn new(config: RedisConfig) -> Self {
        Self {
            config,
            run: None,
            role_asked: Duration::ZERO,
            pending: VecDeque::new(),
            abandoned: 0,
            out: Vec::new(),
            input: Vec::new(),
            replies: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether a batch would be sent now, and not refused.
    pub const fn is_open(&self) -> bool {
        self.run.is_some() && self.abandoned == 0
    }

    /// A new connection: sends the greeting.
    ///
    /// # Panics
    /// If the last connection was not reported as lost.
    pub fn handle_connected(&mut self, now: Duration) {
        assert!(self.pending.is_empty() && self.run.is_none(), "the last connection was not reported as lost");
        assert!(self.out.is_empty() && self.input.is_empty(), "bytes of the last connection are left");
        let RedisLogin { username, password, db } = self.config.login.clone();
        if let Some(password) = password {
            let words: Vec<&[u8]> = username.iter().map(String::as_bytes).chain([password.as_bytes()]).collect();
            self.ask(b"AUTH", &words, Slot::Greeting, now);
        }
        if db != 0 {
            self.ask(b"SELECT", &[db.to_string().as_bytes()], Slot::Greeting, now);
        }
        self.ask_role(now);
        self.ask(b"INFO", &[b"server"], Slot::Server, now);
    }

    /// The connection is gone, and with it every reply.
    pub fn handle_lost(&mut self) {
        for pending in self.pending.drain(..) {
            if let Slot::Batch(batch) = pending.slot {
                self.replies.push_back((batch, Err(Unavailable::Unknown)));
            }
        }
        self.abandoned = 0;
        self.run = None;
        self.out.clear();
        self.input.clear();
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// If the connection must be given up.
    pub fn handle_input(&mut self, bytes: &[u8], now: Duration) -> Result<(), PipeError> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((reply, length)) = frame::read(&input[at..]).map_err(|_| PipeError::Malformed)? {
            self.handle_reply(reply, now)?;
            at += length;
        }
        input.drain(..at);
        self.input = input;
        Ok(())
    }

    /// Abandons what is not answered in time, and asks whether the server is still the master.
    ///
    /// # Errors
    /// If the connection has been silent for too long.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), PipeError> {
        let oldest = self.pending.front().map(|pending| now.saturating_sub(pending.since));
        if oldest.is_some_and(|waited| waited >= SILENCE_MAX) {
            return Err(PipeError::Silent);
        }
        let is_late = |pending: &&mut Pending| now.saturating_sub(pending.since) >= self.config.reply_timeout;
        for Pending { slot, .. } in self.pending.iter_mut().take_while(is_late) {
            if let Slot::Batch(_) = slot
                && let Slot::Batch(batch) = std::mem::replace(slot, Slot::Abandoned)
            {
                self.abandoned += 1;
                self.replies.push_back((batch, Err(Unavailable::Unknown)));
            }
        }
        assert!(self.abandoned <= self.pending.len(), "{} abandoned of {}", self.abandoned, self.pending.len());
        if self.is_open() && now.saturating_sub(self.role_asked) >= ROLE_EVERY {
            self.ask_role(now);
        }
        Ok(())
    }

    /// Sends a batch. If there is no way to the ledger, the batch is answered unavailable.
    pub fn send(&mut self, batch: Batch, now: Duration) {
        if self.is_open() {
            self.send_batch(batch, Naming::Digest, now);
        } else {
            self.refuse(batch);
        }
    }

    /// Answers a batch unavailable without asking the ledger.
    pub fn refuse(&mut self, batch: Batch) {
        self.replies.push_back((batch, Err(Unavailable::Unknown)));
    }

    /// A batch, and the ledger's reply to it.
    pub fn poll_reply(&mut self) -> Option<(Batch, Result<BatchReply, Unavailable>)> {
        self.replies.pop_front()
    }

    /// Something for the log.
    pub fn poll_event(&mut self) -> Option<RedisEvent> {
        self.events.pop_front()
    }

    /// Appends what is to be written to `out`. Whether there was anything.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        out.append(&mut self.out);
        any
    }

    fn ask_role(&mut self, now: Duration) {
        self.ask(b"INFO", &[b"replication"], Slot::Role, now);
        self.role_asked = now;
    }

    fn ask(&mut self, command: &[u8], arguments: &[&[u8]], slot: Slot, now: Duration) {
        put_length(&mut self.out, b'*', 1 + arguments.len());
        put_bulk(&mut self.out, command);
        for argument in arguments {
            put_bulk(&mut self.out, argument);
        }
        self.pending.push_back(Pending { slot, since: now });
    }

    fn send_batch(&mut self, batch: Batch, naming: Naming, now: Duration) {
        let Some(run) = self.run.as_deref() else { return };
        let RedisConfig { script, window, .. } = &self.config;
        let (command, name) = match naming {
            Naming::Digest => (&b"EVALSHA"[..], script.digest.as_str()),
            Naming::Text => (&b"EVAL"[..], script.text),
        };
        let out = &mut self.out;
        put_length(out, b'*', 2 + reserve_argument_count(batch.reservations.len(), batch.trace.is_some()));
        put_bulk(out, command);
        put_bulk(out, name.as_bytes());
        let holds = if batch.repeats_only { Holds::RepeatsOnly } else { Holds::New };
        let caller = Caller { run, term: Some(batch.term), now_ms: None, window: *window, holds, trace: batch.trace };
        reserve_arguments(caller, batch.activity, &batch.reservations, |argument| put_bulk(out, argument));
        self.pending.push_back(Pending { slot: Slot::Batch(batch), since: now });
    }

    fn handle_reply(&mut self, reply: Reply<'_>, now: Duration) -> Result<(), PipeError> {
        let Pending { slot, .. } = self.pending.pop_front().ok_or(PipeError::Unasked)?;
        match (slot, reply) {
            (Slot::Abandoned, _) => {
                assert!(self.abandoned > 0, "a slot was abandoned that is not counted");
                self.abandoned -= 1;
            }
            (Slot::Batch(batch), Reply::Error { code, details }) => {
                return self.handle_refusal(batch, &text(code), &text(details), now);
            }
            (Slot::Batch(batch), reply) => {
                let parsed = match reply {
                    Reply::Bulk(bytes) => parse_reserve(bytes, &batch.reservations),
                    Reply::Error { .. } | Reply::Other => Err(Unreadable),
                };
                let reply = parsed.map_err(|unreadable| {
                    self.report(RedisEvent::Unreadable(unreadable));
                    Unavailable::Unknown
                });
                self.replies.push_back((batch, reply));
            }
            (Slot::Greeting | Slot::Role | Slot::Server, Reply::Error { code, details }) => {
                return Err(PipeError::GreetingRefused(format!("{} {}", text(code), text(details))));
            }
            (Slot::Role, Reply::Bulk(info)) if is_replica(&String::from_utf8_lossy(info)) => {
                return Err(PipeError::ReadOnly);
            }
            (Slot::Greeting | Slot::Role, Reply::Bulk(_) | Reply::Other) => {}
            (Slot::Server, reply) => {
                let run = match reply {
                    Reply::Bulk(info) => run_id(&String::from_utf8_lossy(info)).map(str::to_owned),
                    Reply::Error { .. } | Reply::Other => None,
                };
                let run = run.ok_or_else(|| PipeError::GreetingRefused("INFO server has no run_id".to_owned()))?;
                self.report(RedisEvent::Connected(run.clone()));
                self.run = Some(run);
            }
        }
        Ok(())
    }

    /// The server refused a batch.
    fn handle_refusal(&mut self, batch: Batch, code: &str, details: &str, now: Duration) -> Result<(), PipeError> {
        match code {
            // Nothing happened: the same batch again, with the script's text.
            "NOSCRIPT" if self.is_open() => self.send_batch(batch, Naming::Text, now),
            "FROZEN" | "TERM" => self.replies.push_back((batch, Err(Unavailable::Frozen))),
            _ => {
                self.replies.push_back((batch, Err(Unavailable::Unknown)));
                if is_replicas_error(code, Some(details)) {
                    return Err(PipeError::ReadOnly);
                }
                self.report(RedisEvent::BatchRefused { code: code.to_owned(), details: details.to_owned() });
            }
        }
        Ok(())
    }

    fn report(&mut self, event: RedisEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }
}

/// Part of an error, bounded.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(DETAILS_CHARS_MAX).collect()
}

/// `*` and a number of words, or `$` and a length.
fn put_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    put_decimal(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

fn put_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
