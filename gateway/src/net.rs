//! What the shell needs of a runtime to reach another server.

use std::{future::Future, io, net::SocketAddr, time::Duration};

/// The reading half of a connection. Buffers are handed over and come back, the shape that io_uring needs.
pub(crate) trait Reader {
    /// Appends to `buf`'s spare capacity; `Ok(0)` is the end.
    fn read(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
}

/// The writing half.
pub(crate) trait Writer {
    /// Writes all of `buf`.
    fn write_all(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;
}

/// A runtime, as a client sees it.
pub(crate) trait Net {
    type Reader: Reader;
    type Writer: Writer;

    /// A connection on which small writes leave at once.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>>;

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}
