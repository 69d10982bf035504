//! One connection, whatever the runtime: bytes in, bytes out, as the core says.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use gateway_core::{ConnId, Next};

use crate::{
    net::{Reader, Writer},
    shard::Shard,
};

/// Room for one read; a head or a body larger than this comes in several.
const READ_BYTES: usize = 4096;

/// A client's connection.
pub(crate) trait Socket: Reader + Writer {
    /// Ends the writing side and reads on for a moment, so that the last answer is not lost to a
    /// reset while the client still sends (RFC 9112 section 9.6).
    fn linger(&mut self) -> impl Future<Output = ()>;
}

/// Serves the connection until the core closes it or it fails.
pub(crate) async fn serve<S: Socket>(shard: &Rc<Shard>, id: ConnId, mut socket: S) {
    let (mut input, mut out) = (Vec::with_capacity(READ_BYTES), Vec::with_capacity(READ_BYTES));
    let mut next = shard.poll_client(id, &mut out);
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
                Came::Bytes(Ok(0), _) => shard.handle_eof(id),
                Came::Bytes(Ok(_), filled) => {
                    input = filled;
                    let used = shard.handle_client(id, &input);
                    input.drain(..used);
                }
                Came::Bytes(Err(_), _) => break,
                Came::Other(other) => {
                    next = other;
                    continue;
                }
            },
            Next::Close => {
                socket.linger().await;
                break;
            }
        }
        next = shard.poll_client(id, &mut out);
    }
    shard.close(id);
}

/// Writes all of `out` and gives the buffer back; `None` where the client is gone, or reads too slowly for
/// the core.
async fn write<S: Socket>(shard: &Rc<Shard>, id: ConnId, socket: &mut S, out: Vec<u8>) -> Option<Vec<u8>> {
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
enum Came {
    Bytes(io::Result<usize>, Vec<u8>),
    /// The core wants this instead.
    Other(Next),
}

/// Reads on, across wake-ups: a read that was dropped could lose bytes. It is given up only where the
/// core wants something else than to read, and then the connection is about to end.
async fn read<S: Socket>(shard: &Rc<Shard>, id: ConnId, socket: &mut S, mut input: Vec<u8>, out: &mut Vec<u8>) -> Came {
    input.reserve(READ_BYTES);
    let mut read = pin!(socket.read(input));
    let mut first = true;
    poll_fn(|context| {
        if let Poll::Ready((result, filled)) = read.as_mut().poll(context) {
            return Poll::Ready(Came::Bytes(result, filled));
        }
        // The core has just said `Read`, so the first poll need not ask it again.
        if !std::mem::take(&mut first) {
            match shard.poll_client(id, out) {
                Next::Read => {}
                other @ (Next::Write | Next::Wait | Next::Close) => return Poll::Ready(Came::Other(other)),
            }
        }
        shard.park(id, context.waker());
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        net::{IpAddr, Ipv4Addr},
        sync::Arc,
        task::{Context, Waker},
        time::{Duration, Instant},
    };

    use contract::{
        ledger::BatchReply,
        snowflake::Snowflake,
        token::{Audience, TokenKey},
    };
    use foundation::metrics::Registry;
    use gateway_core::{Batch, Config, Core};
    use ledger::house::Reply;

    use super::*;
    use crate::{
        figures::Figures,
        link::{Ledgers, ReserveLink},
        mailbox::mailbox,
        redis::Recent,
        shard::Parts,
    };

    /// The ledger of a test that reserves nothing.
    struct NoLedger;

    impl ReserveLink for NoLedger {
        fn reserve(&self, _: Batch, _: Reply<BatchReply>) {}
    }

    /// A client that sends one request and reads no answer.
    struct Deaf {
        request: &'static [u8],
    }

    impl Reader for Deaf {
        async fn read(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
            let request = std::mem::take(&mut self.request);
            if request.is_empty() {
                pending::<()>().await;
            }
            buf.extend_from_slice(request);
            (Ok(request.len()), buf)
        }
    }

    impl Writer for Deaf {
        async fn write_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
            pending::<()>().await;
            (Ok(()), buf)
        }
    }

    impl Socket for Deaf {
        async fn linger(&mut self) {
            panic!("a client that does not read is not waited for");
        }
    }

    #[test]
    fn a_client_that_does_not_read_is_cut() {
        const WRITE_MAX: Duration = Duration::from_millis(20);
        let mut config = Config::new(TokenKey::new(b"a key", Audience::Shopper), 1);
        config.timeouts.write = WRITE_MAX;
        let started = Instant::now();
        let now = gateway_core::Now { mono: Duration::ZERO, wall_ms: 1 };
        let parts = Parts {
            core: Core::new(config, Snowflake::new(1, 1, u64::MAX), now),
            ledgers: Ledgers::Shared(Arc::new(NoLedger)),
            recent: Arc::new(Recent::default()),
            mailbox: mailbox().0.letters,
            figures: Arc::new(Figures::default()),
            metrics: Registry::default(),
            started,
        };
        let shard = Shard::new(parts);
        let id = shard.open(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        let client = Deaf { request: b"GET /ping HTTP/1.1\r\nHost: mall\r\n\r\n" };
        let mut session = pin!(serve(&shard, id, client));
        let mut context = Context::from_waker(Waker::noop());
        assert!(session.as_mut().poll(&mut context).is_pending());
        shard.tick();
        assert!(session.as_mut().poll(&mut context).is_pending(), "there is time left");
        std::thread::sleep(WRITE_MAX + Duration::from_millis(1));
        assert!(session.as_mut().poll(&mut context).is_pending(), "nobody looked at the clock");
        shard.tick();
        assert!(session.as_mut().poll(&mut context).is_ready());
        assert_eq!(shard.connections(), 0);
    }
}
