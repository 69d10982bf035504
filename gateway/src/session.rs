//! One connection on any runtime: bytes in, bytes out, as the core decides.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use gateway_core::{ConnId, Next};

use crate::{
    net::{Net, Reader, Writer, first},
    shard::Shard,
    thread::LINGER,
};

/// Room for one read; a head or a body larger than this comes in several.
const READ_BYTES: usize = 4096;

/// Serves the connection until the core closes it or it fails.
pub(crate) async fn serve<S: Reader + Writer>(shard: &Rc<Shard>, id: ConnId, mut socket: S, net: impl Net) {
    let (mut input, mut out) = (Vec::with_capacity(READ_BYTES), Vec::with_capacity(READ_BYTES));
    let mut next = shard.poll_client(id, &mut out);
    let mut eof = false;
    loop {
        match next {
            Next::Write => match write(shard, id, &mut socket, std::mem::take(&mut out)).await {
                Some(written) => {
                    out = written;
                    out.clear();
                }
                None => break,
            },
            Next::Wait => shard.woken(id).await,
            Next::Read => match read(shard, id, &mut socket, std::mem::take(&mut input), &mut out).await {
                ReadOutcome::Bytes { result: Ok(0), input: rest, .. } => {
                    (eof, input) = (true, rest);
                    shard.handle_eof(id);
                }
                ReadOutcome::Bytes { result: Ok(_), input: filled, at_once } => {
                    input = filled;
                    let used = shard.handle_client(id, &input);
                    input.drain(..used);
                    // If bytes are available at once, which glommio tries first, a client that never stops sending would
                    // block the other connections.
                    if at_once {
                        tokio::task::yield_now().await;
                    }
                }
                ReadOutcome::Bytes { result: Err(_), .. } => break,
                ReadOutcome::Other(other) => {
                    next = other;
                    continue;
                }
            },
            Next::Close => {
                // After an end of file the client sends nothing that could cause a reset.
                if !eof {
                    linger(&mut socket, net).await;
                }
                break;
            }
        }
        next = shard.poll_client(id, &mut out);
    }
    shard.close(id);
}

/// Writes all of `out` and returns the buffer; `None` if the client is gone or reads too slowly.
async fn write(shard: &Rc<Shard>, id: ConnId, socket: &mut impl Writer, out: Vec<u8>) -> Option<Vec<u8>> {
    let mut write = pin!(socket.write_all(out));
    poll_fn(|context| {
        if let Poll::Ready((result, out)) = write.as_mut().poll(context) {
            return Poll::Ready(result.is_ok().then_some(out));
        }
        if shard.is_cut(id) {
            return Poll::Ready(None);
        }
        shard.park(id, context.waker());
        Poll::Pending
    })
    .await
}

/// What ended a read.
enum ReadOutcome {
    /// `at_once`: without waiting for them.
    Bytes { result: io::Result<usize>, input: Vec<u8>, at_once: bool },
    /// The core requires this instead.
    Other(Next),
}

/// Keeps one read across wake-ups, because a dropped read could lose bytes. It is dropped only if the core requires
/// something other than reading, and then the connection is about to end.
async fn read(
    shard: &Rc<Shard>,
    id: ConnId,
    socket: &mut impl Reader,
    mut input: Vec<u8>,
    out: &mut Vec<u8>,
) -> ReadOutcome {
    input.reserve(READ_BYTES);
    let mut read = pin!(socket.read(input));
    let mut first = true;
    poll_fn(|context| {
        // The core has just returned `Read`, so the first poll need not call it again.
        let at_once = std::mem::take(&mut first);
        if let Poll::Ready((result, input)) = read.as_mut().poll(context) {
            return Poll::Ready(ReadOutcome::Bytes { result, input, at_once });
        }
        if !at_once {
            match shard.poll_client(id, out) {
                Next::Read => {}
                other @ (Next::Write | Next::Wait | Next::Close) => return Poll::Ready(ReadOutcome::Other(other)),
            }
        }
        shard.park(id, context.waker());
        Poll::Pending
    })
    .await
}

/// Ends the writing side and reads on for a moment, so that the last answer is not lost to a reset while the
/// client still sends (RFC 9112 section 9.6).
async fn linger(socket: &mut (impl Reader + Writer), net: impl Net) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let mut buf = Vec::with_capacity(READ_BYTES);
        loop {
            let result;
            (result, buf) = socket.read(buf).await;
            if !matches!(result, Ok(1..)) {
                return;
            }
            buf.clear();
        }
    };
    // Whether the client closed or the time ran out, the socket is closed now.
    first(rest, net.sleep(LINGER)).await;
}
