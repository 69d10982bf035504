//! One core's conversation with Redis, without the socket: bytes out, bytes in.
//!
//! Replies come in the order of the commands. A batch that was not answered in time leaves its slot
//! behind, which swallows the reply that still comes: were the slot taken away, every later reply would
//! reach the wrong buyers. While such a slot is open nothing new is sent.

use std::{collections::VecDeque, time::Duration};

use contract::stock::{BatchReply, Window};
use foundation::redis::{is_replica, is_replicas_error};
use gateway_core::{Batch, Unavailable};
use ledger::redis::wire::{self, Caller, Script, pack_reserve};
use redis::{Cmd, RedisConnectionInfo, Value, cmd};

use super::frame;

/// A connection that has been silent for so long, with replies open, is given up.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the server is asked whether it is still the master. A replica may answer without any write, with
/// FROZEN or "sold out", so a batch does not tell.
const ROLE_EVERY: Duration = Duration::from_secs(1);

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
    /// Whether the server is a replica.
    Role,
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
    /// When the server was last asked whether it is the master.
    role_asked: Duration,
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
            role_asked: Duration::ZERO,
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
        self.ask_role(now);
        self.ask(cmd("INFO").arg("server"), Slot::Server, now);
    }

    fn ask_role(&mut self, now: Duration) {
        self.ask(cmd("INFO").arg("replication"), Slot::Role, now);
        self.role_asked = now;
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
        let caller = Caller { run, now_ms: None, window: self.window, repeats_only: batch.repeats_only };
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
                code if is_replicas_error(code, error.details()) => {
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
            (Slot::Greeting | Slot::Role | Slot::Server, Value::ServerError(error)) => {
                return Err(Broken::Refused(error.to_string()));
            }
            (Slot::Greeting, _) => {}
            (Slot::Role, Value::BulkString(info)) if is_replica(&String::from_utf8_lossy(info)) => {
                return Err(Broken::ReadOnly);
            }
            (Slot::Role, _) => {}
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
        let caller = Caller { run, now_ms: None, window: self.window, repeats_only: batch.repeats_only };
        pack_reserve(&mut self.out, Script::Text, caller, batch.activity, &batch.reservations);
        self.slots.push_back((Slot::Batch(batch), now));
    }

    /// Abandons what is not answered in time, and asks whether the server is still the master.
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
        if self.is_open() && now.saturating_sub(self.role_asked) >= ROLE_EVERY {
            self.ask_role(now);
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

#[cfg(test)]
mod tests {
    use contract::{
        ActivityId, OrderId, UserId,
        stock::{Outcome, Reservation},
    };
    use gateway_core::BatchId;
    use redis::IntoConnectionInfo;

    use super::*;

    const INFO: &[u8] = b"$11\r\nrole:master\r\n$19\r\n# Server\r\nrun_id:0a\r\n";
    const REPLY_TIMEOUT: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pipe(url: &str) -> Pipe {
        let login = url.into_connection_info().unwrap().redis_settings().clone();
        Pipe::new(login, Window::default(), REPLY_TIMEOUT)
    }

    fn open_pipe() -> Pipe {
        let mut pipe = pipe("redis://h");
        pipe.handle_connected(at(0));
        pipe.handle_input(INFO, at(0)).unwrap();
        assert!(pipe.is_open());
        written(&mut pipe);
        pipe
    }

    /// One reservation; its order's id is the batch's number.
    fn batch(serial: u64) -> Batch {
        let activity = ActivityId::from_i64(1).unwrap();
        let id = i64::try_from(serial).unwrap();
        let (order, user) = (OrderId::from_i64(id).unwrap(), UserId::from_i64(id).unwrap());
        let reservations = vec![Reservation { order, user, request: None, quantity: 1 }];
        Batch { id: BatchId::new(activity, serial), activity, reservations, repeats_only: false }
    }

    fn written(pipe: &mut Pipe) -> String {
        let mut out = Vec::new();
        pipe.poll_transmit(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// What became of a batch that the pipe gives back now.
    fn told(pipe: &mut Pipe) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
        let (batch, reply) = pipe.poll_reply()?;
        Some((batch.id, reply.map(|reply| reply.outcomes[0])))
    }

    fn unavailable(serial: u64, why: Unavailable) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
        Some((batch(serial).id, Err(why)))
    }

    fn held(serial: u64) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
        let order = batch(serial).reservations[0].order;
        Some((batch(serial).id, Ok(Outcome::Held { order, repeated: false })))
    }

    const HELD: &[u8] = b"$13\r\n1 2 9 8 1 0 h\r\n";

    #[test]
    fn the_greeting_names_who_asks_and_learns_who_answers() {
        let mut pipe = pipe("redis://ada:secret@h/3");
        pipe.send(batch(1), at(0));
        assert_eq!(told(&mut pipe), unavailable(1, Unavailable::Unknown));
        pipe.handle_connected(at(0));
        let greeting = written(&mut pipe);
        let words: Vec<&str> = greeting.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
        assert_eq!(words, ["AUTH", "ada", "secret", "SELECT", "3", "INFO", "replication", "INFO", "server", ""]);
        pipe.handle_input(b"+OK\r\n+OK\r\n", at(1)).unwrap();
        assert!(!pipe.is_open(), "the server has not said who it is");
        pipe.send(batch(2), at(1));
        assert_eq!(told(&mut pipe), unavailable(2, Unavailable::Unknown));
        pipe.handle_input(INFO, at(2)).unwrap();
        pipe.send(batch(3), at(3));
        assert!(written(&mut pipe).contains("\r\n0a\r\n"), "the run id goes with every batch");
        let mut refused = super::tests::pipe("redis://:wrong@h");
        refused.handle_connected(at(0));
        let error = refused.handle_input(b"-WRONGPASS invalid\r\n", at(0)).unwrap_err();
        assert!(matches!(error, Broken::Refused(_)), "{error}");
    }

    #[test]
    fn replies_come_in_order_however_they_are_cut() {
        let bytes = [HELD, b"-FROZEN 0a\r\n", HELD, b"-LOADING Redis is loading\r\n", b"$1\r\nx\r\n"].concat();
        for size in 1..bytes.len() {
            let mut pipe = open_pipe();
            for serial in 1..=5 {
                pipe.send(batch(serial), at(0));
            }
            for piece in bytes.chunks(size) {
                pipe.handle_input(piece, at(1)).unwrap();
            }
            assert_eq!(told(&mut pipe), held(1));
            assert_eq!(told(&mut pipe), unavailable(2, Unavailable::Frozen));
            assert_eq!(told(&mut pipe), held(3));
            assert_eq!(told(&mut pipe), unavailable(4, Unavailable::Unknown));
            assert_eq!(told(&mut pipe), unavailable(5, Unavailable::Unknown));
            assert_eq!(told(&mut pipe), None);
        }
    }

    #[test]
    fn a_late_reply_reaches_nobody_else() {
        let mut pipe = open_pipe();
        pipe.send(batch(1), at(0));
        pipe.handle_timeout(at(99)).unwrap();
        assert_eq!(told(&mut pipe), None);
        pipe.handle_timeout(at(100)).unwrap();
        assert_eq!(told(&mut pipe), unavailable(1, Unavailable::Unknown));
        written(&mut pipe);
        pipe.send(batch(2), at(110));
        assert_eq!(told(&mut pipe), unavailable(2, Unavailable::Unknown), "the slot of the first is open");
        assert_eq!(written(&mut pipe), "");
        pipe.handle_input(HELD, at(120)).unwrap();
        assert_eq!(told(&mut pipe), None);
        pipe.send(batch(3), at(130));
        pipe.handle_input(HELD, at(140)).unwrap();
        assert_eq!(told(&mut pipe), held(3));
    }

    #[test]
    fn a_script_that_is_not_known_is_sent() {
        let mut pipe = open_pipe();
        pipe.send(batch(1), at(0));
        assert!(written(&mut pipe).contains("EVALSHA"));
        pipe.handle_input(b"-NOSCRIPT No matching script.\r\n", at(1)).unwrap();
        assert_eq!(told(&mut pipe), None);
        assert!(written(&mut pipe).contains("\r\nEVAL\r\n"));
        pipe.handle_input(HELD, at(2)).unwrap();
        assert_eq!(told(&mut pipe), held(1));
    }

    /// It may answer every batch without a write, and then no answer tells.
    #[test]
    fn a_server_that_became_a_replica_is_left() {
        let replica: &[u8] = b"$27\r\nrole:slave\r\nmaster_host:h\r\n\r\n";
        let mut pipe = pipe("redis://h");
        pipe.handle_connected(at(0));
        assert_eq!(pipe.handle_input(replica, at(0)), Err(Broken::ReadOnly), "at the greeting");

        let mut pipe = open_pipe();
        pipe.handle_timeout(at(999)).unwrap();
        assert_eq!(written(&mut pipe), "");
        pipe.send(batch(1), at(999));
        written(&mut pipe);
        pipe.handle_timeout(at(1_000)).unwrap();
        assert!(written(&mut pipe).contains("\r\nreplication\r\n"), "it is asked every second");
        pipe.handle_input(b"-FROZEN 0a\r\n", at(1_001)).unwrap();
        assert_eq!(told(&mut pipe), unavailable(1, Unavailable::Frozen));
        assert_eq!(pipe.handle_input(replica, at(1_001)), Err(Broken::ReadOnly));

        let mut pipe = open_pipe();
        pipe.handle_timeout(at(1_000)).unwrap();
        pipe.handle_input(b"$11\r\nrole:master\r\n", at(1_001)).unwrap();
        assert!(pipe.is_open());
    }

    #[test]
    fn what_cannot_go_on_ends_the_connection() {
        let cases: [(&[u8], Broken); 5] = [
            (b"-READONLY You can't write against a read only replica.\r\n", Broken::ReadOnly),
            (b"-MASTERDOWN Link with MASTER is down.\r\n", Broken::ReadOnly),
            (b"-ERR Error running script: -READONLY You can't write.\r\n", Broken::ReadOnly),
            (b"HTTP/1.1 400 Bad Request\r\n", Broken::Malformed),
            (b"+OK\r\n+OK\r\n", Broken::Unasked),
        ];
        for (bytes, why) in cases {
            let mut pipe = open_pipe();
            pipe.send(batch(1), at(0));
            assert_eq!(pipe.handle_input(bytes, at(1)), Err(why));
            pipe.handle_lost();
            assert_eq!(told(&mut pipe), unavailable(1, Unavailable::Unknown));
            assert!(!pipe.is_open() && told(&mut pipe).is_none());
        }
        let mut pipe = open_pipe();
        pipe.send(batch(1), at(0));
        pipe.handle_timeout(at(100)).unwrap();
        assert_eq!(pipe.handle_timeout(SILENCE_MAX), Err(Broken::Silent));
        pipe.handle_lost();
        assert_eq!(told(&mut pipe), unavailable(1, Unavailable::Unknown));
        assert_eq!(told(&mut pipe), None, "it is told once");
        pipe.handle_connected(SILENCE_MAX);
        pipe.handle_input(INFO, SILENCE_MAX).unwrap();
        assert!(pipe.is_open(), "the next connection starts anew");
    }
}
