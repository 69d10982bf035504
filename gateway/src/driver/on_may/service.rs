//! The coroutine's half: may_minihttp's request to a message, and the core's answer to may_minihttp's words.

use std::{
    io::{self, Read as _},
    mem::transmute,
    net::{Shutdown, TcpStream},
    sync::Arc,
};

use gateway_core::{Header, Limits, Request};
use may::sync::mpsc as answers;
use may_minihttp::{HttpService, Response};
use tokio::sync::mpsc;

/// What is answered on one connection before it is closed. may_minihttp keeps what a client does not read, and
/// takes the next request all the same; so this is what a client can make it keep.
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;
/// may_minihttp's limit.
const HEADERS_MAX: usize = 16;

/// What it writes by itself.
const OWN_LINES: [&str; 2] = ["content-length: ", "date: "];

/// A request on its way to the core thread.
pub(super) struct ParsedRequest {
    method: String,
    target: String,
    http_1_0: bool,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl ParsedRequest {
    fn new(request: &may_minihttp::Request<'_, '_, '_>) -> Self {
        let headers = request.headers().iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
        let (method, target) = (request.method().to_owned(), request.path().to_owned());
        Self { method, target, http_1_0: request.version() == 0, headers, body: Vec::new() }
    }

    /// Shows it as the core takes it.
    pub(super) fn lend<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut headers = [Header { name: "", value: b"" }; HEADERS_MAX];
        for (slot, (name, value)) in headers.iter_mut().zip(&self.headers) {
            *slot = Header { name, value };
        }
        let headers = &headers[..self.headers.len().min(HEADERS_MAX)];
        let Self { method, target, http_1_0, body, .. } = self;
        act(&Request { method, target, http_1_0: *http_1_0, headers, body })
    }
}

/// The answer on its way back.
pub(super) struct AnswerBytes {
    pub(super) bytes: Vec<u8>,
    /// The connection closes after it.
    pub(super) last: bool,
}

/// Why the core has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoAnswer {
    /// Not a request, or it follows the connection's last request.
    Malformed,
    /// There are too many connections, or too few descriptors for this one, or the server ends.
    Unavailable,
}

/// One connection's.
pub(super) struct Service {
    /// The connection's socket by another name; without it the service only refuses.
    socket: Option<Arc<TcpStream>>,
    limits: Limits,
    asks: mpsc::UnboundedSender<ParsedRequest>,
    answered: answers::Receiver<AnswerBytes>,
    /// The head of the answer that may_minihttp is writing.
    head: String,
    /// Bytes answered so far.
    bytes: usize,
    closing: bool,
}

impl Service {
    pub(super) const fn new(
        socket: Option<Arc<TcpStream>>,
        limits: Limits,
        asks: mpsc::UnboundedSender<ParsedRequest>,
        answered: answers::Receiver<AnswerBytes>,
    ) -> Self {
        let closing = socket.is_none();
        Self { socket, limits, asks, answered, head: String::new(), bytes: 0, closing }
    }

    /// The core's answer. After an error the connection must be closed.
    fn ask(&mut self, request: may_minihttp::Request<'_, '_, '_>) -> Result<AnswerBytes, NoAnswer> {
        if self.socket.is_none() {
            return Err(NoAnswer::Unavailable);
        }
        let mut asked = ParsedRequest::new(&request);
        // What is refused for its head is refused without its body, which may_minihttp can't be trusted to end.
        if let Ok(length @ 1..) = asked.lend(|request| request.body_len(&self.limits)) {
            let read = request.body().read_to_end(&mut asked.body).ok();
            read.filter(|read| *read == length).ok_or(NoAnswer::Malformed)?;
        }
        // Behind the last request bodies are passed over all the same: taken for a head, one would cost the last
        // answer, which is not written yet.
        if self.closing {
            return Err(NoAnswer::Malformed);
        }
        self.asks.send(asked).map_err(|_| NoAnswer::Unavailable)?;
        self.answered.recv().map_err(|_| NoAnswer::Unavailable)
    }

    /// Reads no more: may_minihttp finds the end of the stream once it has written what it has.
    fn close(&mut self) {
        self.closing = true;
        if let Some(socket) = &self.socket {
            // The client may have ended it already.
            drop(socket.shutdown(Shutdown::Read));
        }
    }

    /// may_minihttp writes status line, date and length by itself.
    fn say(&mut self, AnswerBytes { mut bytes, last }: AnswerBytes, response: &mut Response<'_>) -> Option<()> {
        self.bytes += bytes.len();
        let body = bytes.split_off(memchr::memmem::find(&bytes, b"\r\n\r\n")? + 4);
        let mut lines = std::str::from_utf8(&bytes).ok()?.split_terminator("\r\n");
        let (code, reason) = lines.next()?.strip_prefix("HTTP/1.1 ")?.split_once(' ')?;
        self.head.clear();
        self.head.push_str(reason);
        for line in lines.filter(|line| !line.is_empty() && !OWN_LINES.iter().any(|own| line.starts_with(own))) {
            self.head.push_str("\r\n");
            self.head.push_str(line);
        }
        if self.bytes > ANSWERS_BYTES_MAX && !last {
            self.head.push_str("\r\nconnection: close");
        }
        let (reason, headers) = forever(&self.head).split_once("\r\n")?;
        response.status_code(code.parse().ok()?, reason).header(headers).body_vec(body);
        if last || self.bytes > ANSWERS_BYTES_MAX {
            self.close();
        }
        Some(())
    }
}

#[expect(unsafe_code, reason = "may_minihttp takes only what lives forever")]
fn forever(head: &str) -> &'static str {
    // SAFETY: what is made of it goes into the `Response`, which may_minihttp writes out and drops as soon as
    // `call` has returned; the service, which has the text, is not touched before the next call.
    unsafe { transmute::<&str, &'static str>(head) }
}

impl HttpService for Service {
    fn call(&mut self, request: may_minihttp::Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        let answered = self.ask(request);
        if let Err(ended) = answered.and_then(|answered| self.say(answered, response).ok_or(NoAnswer::Malformed)) {
            self.close();
            let (code, reason) = match ended {
                NoAnswer::Malformed => (400, "Bad Request"),
                NoAnswer::Unavailable => (503, "Service Unavailable"),
            };
            response.status_code(code, reason).header("connection: close");
        }
        Ok(())
    }
}
