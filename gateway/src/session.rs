//! One connection, whatever the runtime: bytes in, bytes out, as the core says.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use gateway_core::{ConnId, Next};

use crate::shard::Shard;

/// Room for one read; a head or a body larger than this comes in several.
const READ_BYTES: usize = 4096;

/// A connection's socket. Buffers are handed over and come back, the shape that io_uring needs.
pub(crate) trait Socket {
    /// Appends to `buf`'s spare capacity; `Ok(0)` is the end.
    fn read(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
    /// Writes all of `buf`.
    fn write_all(&mut self, buf: Vec<u8>) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;
    /// Ends the writing side and reads on for a moment, so that the last answer is not lost to a
    /// reset while the client still sends (RFC 9112 section 9.6).
    fn linger(&mut self) -> impl Future<Output = ()>;
}

/// Serves the connection until the core closes it or it fails.
pub(crate) async fn serve<S: Socket>(shard: &Rc<Shard>, id: ConnId, mut socket: S) {
    let (mut input, mut out) = (Vec::with_capacity(READ_BYTES), Vec::with_capacity(READ_BYTES));
    loop {
        let next = shard.poll_client(id, &mut out);
        match next {
            Next::Write => {
                let result;
                (result, out) = socket.write_all(out).await;
                if result.is_err() {
                    break;
                }
                out.clear();
            }
            Next::Wait => shard.woken(id).await,
            Next::Read => {
                let Some((result, filled)) = read(shard, id, &mut socket, std::mem::take(&mut input), &mut out).await
                else {
                    continue;
                };
                input = filled;
                match result {
                    Ok(0) => shard.handle_eof(id),
                    Ok(_) => {
                        let used = shard.handle_client(id, &input);
                        input.drain(..used);
                    }
                    Err(_) => break,
                }
            }
            Next::Close => {
                socket.linger().await;
                break;
            }
        }
    }
    shard.close(id);
}

/// Reads on, across wake-ups: a read that was dropped could lose bytes. It is given up (`None`) only
/// where the core wants something else than to read, and then the connection is about to end.
async fn read<S: Socket>(
    shard: &Rc<Shard>,
    id: ConnId,
    socket: &mut S,
    mut input: Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<(io::Result<usize>, Vec<u8>)> {
    input.reserve(READ_BYTES);
    let mut read = pin!(socket.read(input));
    let mut first = true;
    poll_fn(|context| {
        if let Poll::Ready(done) = read.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        // The core has just said `Read`, so the first poll need not ask it again.
        if !std::mem::take(&mut first) && !matches!(shard.poll_client(id, out), Next::Read) {
            return Poll::Ready(None);
        }
        shard.park(id, context.waker());
        Poll::Pending
    })
    .await
}
