//! A client's socket with deadlines on what hyper waits for without any: a write that makes no progress
//! (hyperium/hyper#3852), and a head apart from the time between two requests.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::framing::Framing;

/// How long a write may make no progress.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// From a connection's accept, or a later request's first byte, to the end of the request's head.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long, and for how many bytes, a socket is read after its last answer if its client still sends: closing a
/// socket with unread input resets it, and the client may lose the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

const HEAD: u8 = 0;
const SERVING: u8 = 1;
const IDLE: u8 = 2;

/// What a connection is doing, shared by its socket and its service.
#[derive(Debug, Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    unread: AtomicBool,
    ambiguous: AtomicBool,
}

impl Progress {
    /// A request's head was read.
    pub(super) fn begin_request(&self) {
        self.phase.store(SERVING, Ordering::Relaxed);
    }

    /// A request was answered; `unread` if the client may still be sending its body.
    pub(super) fn end_request(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
        self.phase.store(IDLE, Ordering::Relaxed);
    }

    /// Whether a head with both `Content-Length` and `Transfer-Encoding` arrived. hyper drops the length before anybody
    /// sees it.
    pub(super) fn has_ambiguous_length(&self) -> bool {
        self.ambiguous.load(Ordering::Relaxed)
    }
}

/// The socket.
pub(super) struct ClientStream {
    inner: TcpStream,
    progress: Arc<Progress>,
    framing: Framing,
    head: Pin<Box<Sleep>>,
    write: Pin<Box<Sleep>>,
    is_write_pending: bool,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl ClientStream {
    pub(super) fn new(inner: TcpStream, progress: Arc<Progress>) -> Self {
        Self {
            inner,
            progress,
            framing: Framing::default(),
            head: Box::pin(sleep(HEAD_TIMEOUT)),
            write: Box::pin(sleep(WRITE_TIMEOUT)),
            is_write_pending: false,
            linger: None,
        }
    }

    fn note_input(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.framing.read(bytes) {
            self.progress.ambiguous.store(true, Ordering::Relaxed);
        }
        if self.progress.phase.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.head.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
        }
    }

    /// Ends a write that has been pending for too long.
    fn limit_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_write_pending = false;
            return written;
        }
        if !self.is_write_pending {
            self.is_write_pending = true;
            self.write.as_mut().reset(Instant::now() + WRITE_TIMEOUT);
        }
        ready!(self.write.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending if self.progress.phase.load(Ordering::Relaxed) == HEAD => {
                ready!(self.head.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request is late")))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                self.note_input(&buf.filled()[before..]);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.limit_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.limit_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.progress.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let (deadline, left) = this.linger.get_or_insert_with(|| (Box::pin(sleep(LINGER_TIMEOUT)), LINGER_BYTES_MAX));
        let mut bytes = [0; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Pending => {
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *left > 0 => {
                    *left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
