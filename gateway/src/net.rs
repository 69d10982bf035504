//! What the shell needs from a runtime.

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::Poll,
    time::Duration,
};

/// The reading half of a connection. Buffers are handed over and come back, the shape that io_uring needs.
pub(crate) trait Reader {
    /// Appends to `buf`'s spare capacity; `Ok(0)` is the end.
    fn read(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
}

/// The writing half.
pub(crate) trait Writer {
    /// Writes all of `buf`.
    fn write_all(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Ends it: the other side reads the end of the stream.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>>;
}

/// A runtime, as tasks on a core thread use it.
pub(crate) trait Net: Copy + 'static {
    type Reader: Reader;
    type Writer: Writer;

    /// A connection to another server, on which small writes leave at once.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "cores connect to Redis only"))]
    fn connect(self, address: SocketAddr) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>>;

    fn sleep(self, duration: Duration) -> impl Future<Output = ()>;

    /// Runs `task` on this thread until it ends, or the thread does.
    fn spawn(self, task: impl Future<Output = ()> + 'static);
}

/// A runtime that brings bytes from clients.
pub(crate) trait Listening: Net {
    type Listener;
    type Client: Reader + Writer + 'static;

    /// Takes a socket that listens.
    fn listener(self, socket: socket2::Socket) -> io::Result<Self::Listener>;

    /// The next client.
    fn accept(self, listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Client, IpAddr)>>;
}

/// Whichever ends first; the other is dropped.
pub(crate) async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => other.as_mut().poll(context),
    })
    .await
}
