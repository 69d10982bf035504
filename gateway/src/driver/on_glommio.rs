//! The glommio driver: io_uring, and nothing else.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{FromRawFd as _, IntoRawFd as _},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, Placement,
    net::{TcpListener, TcpStream},
    spawn_local,
    timer::sleep,
};
use socket2::Socket;

use crate::{
    net::{Listening, Net, Reader, Writer},
    serve::serve,
    thread::{CONNECT_MAX, CoreThread},
};

/// Submission queue entries of each of an executor's rings.
const RING_ENTRIES: usize = 1024;
/// Memory for direct file IO, which is not used; this is glommio's minimum.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// A stream, or one hand on it. It is borrowed for a poll at a time.
pub(super) struct Stream(Rc<RefCell<TcpStream>>);

impl Reader for Stream {
    async fn read(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let at = buf.len();
        buf.resize(buf.capacity(), 0);
        let result = poll_fn(|context| Pin::new(&mut *self.0.borrow_mut()).poll_read(context, &mut buf[at..])).await;
        buf.truncate(at + result.as_ref().copied().unwrap_or(0));
        (result, buf)
    }
}

impl Writer for Stream {
    async fn write_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut at = 0;
        while at < buf.len() {
            let wrote = poll_fn(|context| Pin::new(&mut *self.0.borrow_mut()).poll_write(context, &buf[at..])).await;
            match wrote {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(wrote) => at += wrote,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut *self.0.borrow_mut()).poll_close(context)).await
    }
}

#[derive(Clone, Copy)]
struct Glommio;

impl Net for Glommio {
    type Reader = Stream;
    type Writer = Stream;

    async fn connect(self, address: SocketAddr) -> io::Result<(Stream, Stream)> {
        let stream = TcpStream::connect_timeout(address, CONNECT_MAX).await?;
        stream.set_nodelay(true)?;
        let stream = Rc::new(RefCell::new(stream));
        Ok((Stream(stream.clone()), Stream(stream)))
    }

    async fn sleep(self, duration: Duration) {
        sleep(duration).await;
    }

    fn spawn(self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task).detach();
    }
}

impl Listening for Glommio {
    type Listener = TcpListener;
    type Client = Stream;

    #[expect(unsafe_code, reason = "glommio takes a socket of ours by its number only")]
    fn listener(self, socket: Socket) -> io::Result<TcpListener> {
        // SAFETY: the descriptor is an open socket's, and nothing else owns it any more.
        Ok(unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) })
    }

    async fn accept(self, listener: &TcpListener) -> io::Result<(Stream, IpAddr)> {
        loop {
            let stream = listener.accept().await?;
            // A client that has reset its connection before it was accepted has no address any more.
            if let Ok(peer) = stream.peer_addr() {
                return Ok((Stream(Rc::new(RefCell::new(stream))), peer.ip()));
            }
        }
    }
}

/// Runs `thread` until it is stopped and drained.
pub(crate) fn run(thread: CoreThread) -> io::Result<()> {
    let executor = match thread.cpu.map(|cpu| executor(Placement::Fixed(cpu))) {
        Some(Err(error)) if !is_limit(&error) => {
            tracing::warn!(%error, cpu = thread.cpu, "a core thread can't stay on its processor");
            executor(Placement::Unbound)
        }
        Some(made) => made,
        None => executor(Placement::Unbound),
    };
    executor.map_err(|error| explained(&error))?.run(serve(thread, Glommio))
}

fn executor(placement: Placement) -> Result<LocalExecutor, GlommioError<()>> {
    let builder = LocalExecutorBuilder::new(placement);
    builder.ring_depth(RING_ENTRIES).io_memory(IO_MEMORY_BYTES).make()
}

/// glommio reports it by its text only.
fn is_limit(error: &GlommioError<()>) -> bool {
    error.to_string().contains("MemLockLimit")
}

/// The error as an operator can use it.
fn explained(error: &GlommioError<()>) -> io::Error {
    if !is_limit(error) {
        return io::Error::other(format!("glommio does not start: {error}"));
    }
    let mend = "raise it (ulimit -l, LimitMEMLOCK= of systemd, --ulimit memlock= of docker), or use --runtime monoio";
    io::Error::other(format!("glommio needs RLIMIT_MEMLOCK of at least 512 KiB: {mend}"))
}
