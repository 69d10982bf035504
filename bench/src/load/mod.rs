//! The load client: one thread, connections that are kept alive, one job in flight on each.
//!
//! It knows HTTP and time; what to ask and what an answer means is a [`Script`]'s. Time is nanoseconds
//! since the run began.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, event::Event, net::TcpStream};

mod response;
#[cfg(test)]
mod tests;

use response::NotHttp;

/// Opening every connection may take so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A run in which no request is answered for so long has failed.
const STALL: Duration = Duration::from_secs(30);
/// A connection that broke is opened again after so long.
const REOPEN_NS: u64 = 50_000_000;
const TICK: Duration = Duration::from_millis(100);
/// The kernel's timer is this coarse: the rest of a wait is spent asking for events.
const SPIN: Duration = Duration::from_millis(1);
const READ_BYTES: usize = 16 * 1024;

/// What a script wants next of a connection that is free.
pub(crate) enum Next {
    /// To ask `job` now. Latency counts from `intended_ns`.
    Ask { job: u32, intended_ns: u64 },
    /// Nothing before `until_ns`.
    Wait { until_ns: u64 },
    /// Nothing before an answer comes.
    Idle,
    /// Nothing more: the run ends.
    Done,
}

/// A whole answer.
pub(crate) struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
    pub retry_after_s: Option<u32>,
}

/// When a request should have been, and was, sent, and when its answer was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub intended_ns: u64,
    pub sent_ns: u64,
    pub answered_ns: u64,
}

/// Decides what is asked, and reads the answers.
pub(crate) trait Script {
    /// What to do with a free connection.
    fn next(&mut self, now_ns: u64) -> Next;

    /// Appends the bytes of `job`: one request, or as many as [`Settings::requests_per_job`] says.
    fn write(&self, job: u32, out: &mut Vec<u8>);

    /// `job` was answered.
    fn answered(&mut self, job: u32, times: Times, answer: &Answer<'_>);

    /// The connection of `job` broke, at `answered_ns` of the times: whether it was carried out is not known.
    fn lost(&mut self, job: u32, times: Times);

    /// The run ended before `job` was answered, at `answered_ns` of the times.
    fn abandoned(&mut self, job: u32, times: Times) {
        self.lost(job, times);
    }

    /// Called ten times a second.
    fn tick(&mut self, now_ns: u64);

    /// Whether the run ends even though requests are unanswered; asked after each tick.
    fn is_over(&self, _now_ns: u64) -> bool {
        false
    }
}

/// How to load.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// One or more; connections take turns at them.
    pub addresses: Vec<SocketAddr>,
    pub connections: usize,
    /// A connection is closed after this many jobs; 0 is never.
    pub requests_per_connection: u32,
    /// Requests that a job sends at once, before it reads the first answer.
    pub requests_per_job: u32,
}

impl Settings {
    /// One request a job, on connections that stay.
    pub(crate) const fn new(addresses: Vec<SocketAddr>, connections: usize) -> Self {
        Self { addresses, connections, requests_per_connection: 0, requests_per_job: 1 }
    }

    /// Where connection `index` goes.
    fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index % self.addresses.len()]
    }
}

/// What a run was like for the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// When the run began, for clocks outside.
    pub began: Option<Instant>,
    pub wall: Duration,
    /// Time on the processor, where the kernel reports it.
    pub busy: Option<Duration>,
    /// Connections that broke or were closed by the server.
    pub broken: u64,
    /// Those of them on which nothing was ever answered, as where the server has a cap of connections.
    pub refused: u64,
    /// Answers that were no HTTP, each of which broke its connection.
    pub not_http: u64,
}

/// Opens every connection, then runs `script` to its end.
#[cfg(any(test, feature = "figures", feature = "search", feature = "versus"))]
pub(crate) fn run(settings: Settings, script: &mut impl Script) -> Result<Ran, String> {
    match run_while_possible(settings, script)? {
        (ran, None) => Ok(ran),
        (_, Some(fault)) => Err(fault),
    }
}

/// Opens every connection, then runs `script` to its end or to the fault that ends the run early, which comes with what was run.
pub(crate) fn run_while_possible(
    settings: Settings,
    script: &mut impl Script,
) -> Result<(Ran, Option<String>), String> {
    let mut client = Client::new(settings).map_err(|error| error.to_string())?;
    client.open_all()?;
    client.start = Instant::now();
    let busy_before = thread_cpu();
    let fault = client.run(script).err().map(|error| error.to_string());
    client.abandon(script);
    let busy = busy_before.and_then(|before| thread_cpu()?.checked_sub(before));
    Ok((Ran { began: Some(client.start), wall: client.start.elapsed(), busy, ..client.ran }, fault))
}

enum State {
    Down { until_ns: u64 },
    Connecting,
    Idle,
    Busy { job: u32, intended_ns: u64, sent_ns: u64, unanswered: u32 },
}

struct Connection {
    stream: Option<TcpStream>,
    state: State,
    asked: u32,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
}

impl Connection {
    const fn new() -> Self {
        let state = State::Down { until_ns: 0 };
        Self { stream: None, state, asked: 0, out: Vec::new(), written: 0, input: Vec::new() }
    }

    fn open(&mut self, index: usize, address: SocketAddr, registry: &Registry) -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        *self = Self { stream: Some(stream), state: State::Connecting, ..Self::new() };
        Ok(())
    }

    /// Whether the connection is open by now.
    fn opened(&self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come; `false` where the server has closed. A read that does not fill the buffer has
    /// emptied the socket (epoll(7), question 9), except that a close may stand behind it.
    fn fill(&mut self, buffer: &mut [u8], to_close: bool) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    if count < buffer.len() && !to_close {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

struct Client {
    settings: Settings,
    poll: Poll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    down: usize,
    buffer: Vec<u8>,
    start: Instant,
    last_answer_ns: u64,
    ran: Ran,
}

enum Wake {
    At(Duration),
    OnEvent,
    End,
}

impl Client {
    fn new(settings: Settings) -> io::Result<Self> {
        let connections: Vec<Connection> = (0..settings.connections).map(|_| Connection::new()).collect();
        Ok(Self {
            settings,
            poll: Poll::new()?,
            idle: VecDeque::with_capacity(connections.len()),
            down: connections.len(),
            connections,
            buffer: vec![0; READ_BYTES],
            start: Instant::now(),
            last_answer_ns: 0,
            ran: Ran::default(),
        })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn open_all(&mut self) -> Result<(), String> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let address = self.settings.address(index);
            let opened = connection.open(index, address, self.poll.registry());
            opened.map_err(|error| format!("{address}: can't open connection {}: {error}", index + 1))?;
            self.down -= 1;
        }
        let mut events = Events::with_capacity(1024);
        while self.idle.len() < self.connections.len() {
            let left = CONNECT_TIMEOUT.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                let open = self.idle.len();
                return Err(format!("only {open} of {} connections opened", self.connections.len()));
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.map_err(|error| error.to_string())?,
            }
            for event in &events {
                let index = event.token().0;
                let connection = &mut self.connections[index];
                let address = self.settings.address(index);
                let opened = connection.opened().map_err(|error| format!("{address}: can't connect: {error}"))?;
                if opened && matches!(connection.state, State::Connecting) {
                    connection.state = State::Idle;
                    self.idle.push_back(index);
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, script: &mut impl Script) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut next_tick = TICK;
        loop {
            let wait = match self.dispatch(script) {
                Wake::End => return Ok(()),
                Wake::OnEvent => TICK,
                Wake::At(wait) if wait > SPIN => (wait - SPIN).min(TICK),
                Wake::At(_) => Duration::ZERO,
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.handle(event, script);
            }
            if self.start.elapsed() >= next_tick {
                next_tick += TICK;
                let now_ns = self.now_ns();
                script.tick(now_ns);
                if script.is_over(now_ns) {
                    return Ok(());
                }
                self.reopen(now_ns);
                self.check_stall(now_ns)?;
            }
        }
    }

    /// Gives up what was not answered.
    fn abandon(&mut self, script: &mut impl Script) {
        let answered_ns = self.now_ns();
        for connection in &self.connections {
            if let State::Busy { job, intended_ns, sent_ns, .. } = connection.state {
                script.abandoned(job, Times { intended_ns, sent_ns, answered_ns });
            }
        }
    }

    /// Gives the free connections something to do.
    fn dispatch(&mut self, script: &mut impl Script) -> Wake {
        while let Some(index) = self.idle.front().copied() {
            let now_ns = self.now_ns();
            match script.next(now_ns) {
                Next::Ask { job, intended_ns } => {
                    self.idle.pop_front();
                    let connection = &mut self.connections[index];
                    let unanswered = self.settings.requests_per_job;
                    connection.state = State::Busy { job, intended_ns, sent_ns: now_ns, unanswered };
                    connection.asked += 1;
                    connection.out.clear();
                    connection.written = 0;
                    script.write(job, &mut connection.out);
                    if connection.flush().is_err() {
                        self.broke(index, script);
                    }
                }
                Next::Wait { until_ns } => return Wake::At(Duration::from_nanos(until_ns.saturating_sub(now_ns))),
                Next::Idle => return Wake::OnEvent,
                Next::Done => return Wake::End,
            }
        }
        Wake::OnEvent
    }

    fn handle(&mut self, event: &Event, script: &mut impl Script) {
        let index = event.token().0;
        let connection = &mut self.connections[index];
        let good = match connection.state {
            State::Down { .. } => return,
            State::Connecting => match connection.opened() {
                Ok(true) => {
                    connection.state = State::Idle;
                    self.idle.push_back(index);
                    return;
                }
                Ok(false) => return,
                Err(_) => false,
            },
            State::Idle | State::Busy { .. } => {
                let flushed = !event.is_writable() || connection.flush().is_ok();
                flushed && (!event.is_readable() || self.read(index, event.is_read_closed(), script))
            }
        };
        if !good {
            self.broke(index, script);
        }
    }

    /// Reads and passes answers on; `false` where the connection is of no more use.
    fn read(&mut self, index: usize, to_close: bool, script: &mut impl Script) -> bool {
        let connection = &mut self.connections[index];
        let open = connection.fill(&mut self.buffer, to_close).unwrap_or(false);
        let State::Busy { job, intended_ns, sent_ns, mut unanswered } = connection.state else {
            return open && connection.input.is_empty();
        };
        let answered_ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (mut used, mut close) = (0, false);
        while unanswered > 0 {
            let rest = &connection.input[used..];
            let response = match response::parse(rest) {
                Ok(Some(response)) if unanswered > 1 || response.body.end == rest.len() => response,
                Ok(None) => {
                    connection.input.drain(..used);
                    connection.state = State::Busy { job, intended_ns, sent_ns, unanswered };
                    return open;
                }
                Ok(Some(_)) | Err(NotHttp(_)) => {
                    self.ran.not_http += 1;
                    return false;
                }
            };
            self.last_answer_ns = answered_ns;
            let body = &rest[response.body.clone()];
            let answer = Answer { status: response.status, body, retry_after_s: response.retry_after_s };
            script.answered(job, Times { intended_ns, sent_ns, answered_ns }, &answer);
            used += response.body.end;
            close |= response.close;
            unanswered -= 1;
        }
        connection.input.clear();
        connection.state = State::Idle;
        let limit = self.settings.requests_per_connection;
        if close || !open || (limit > 0 && connection.asked >= limit) {
            self.close(index, answered_ns);
            self.reopen_one(index);
        } else {
            self.idle.push_back(index);
        }
        true
    }

    fn broke(&mut self, index: usize, script: &mut impl Script) {
        let now_ns = self.now_ns();
        self.ran.broken += 1;
        let connection = &self.connections[index];
        let is_first = matches!((&connection.state, connection.asked), (_, 0) | (State::Busy { .. }, 1));
        self.ran.refused += u64::from(is_first);
        match self.connections[index].state {
            State::Busy { job, intended_ns, sent_ns, .. } => {
                script.lost(job, Times { intended_ns, sent_ns, answered_ns: now_ns });
            }
            State::Idle => self.idle.retain(|idle| *idle != index),
            State::Connecting | State::Down { .. } => {}
        }
        self.close(index, now_ns + REOPEN_NS);
    }

    fn close(&mut self, index: usize, until_ns: u64) {
        self.connections[index] = Connection { state: State::Down { until_ns }, ..Connection::new() };
        self.down += 1;
    }

    fn reopen(&mut self, now_ns: u64) {
        if self.down == 0 {
            return;
        }
        for index in 0..self.connections.len() {
            if matches!(self.connections[index].state, State::Down { until_ns } if until_ns <= now_ns) {
                self.reopen_one(index);
            }
        }
    }

    fn reopen_one(&mut self, index: usize) {
        // One that can't be opened now is tried again at the next tick.
        if self.connections[index].open(index, self.settings.address(index), self.poll.registry()).is_ok() {
            self.down -= 1;
        }
    }

    fn check_stall(&self, now_ns: u64) -> io::Result<()> {
        let waiting = self.idle.len() < self.connections.len();
        let since = Duration::from_nanos(now_ns.saturating_sub(self.last_answer_ns));
        if waiting && since > STALL {
            let message = format!("no request was answered for {} s", STALL.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        Ok(())
    }
}

/// What this thread has had of the processor (`schedstat` of proc(5), nanoseconds).
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
