//! The may_minihttp driver. It reads, parses and writes by itself, on coroutines that move between threads; the
//! core stays on its own thread, and each request goes there and back as a message. ARCHITECTURE.md lists the limitations.

#[cfg(panic = "abort")]
compile_error!("a fault in one connection's coroutine would end the gateway: build it with panic = \"unwind\"");

mod service;

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Shutdown, TcpStream},
    os::fd::BorrowedFd,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use gateway_core::{ConnId, Limits, Next};
use may::sync::mpsc as answers;
use may_minihttp::HttpServiceFactory;
use tokio::sync::mpsc;

use self::service::{AnswerBytes, ParsedRequest, Service};
use super::on_monoio::{Monoio, run_with, stay_on};
use crate::{
    net::{Net, first},
    serve::{begin, drain},
    shard::Shard,
    thread::{CoreThread, LINGER},
};

/// A coroutine's stack, in words. It does not grow.
const STACK_WORDS: usize = 0x2000;

/// A connection, as the core thread gets it. Dropping it ends the connection.
struct NewConnection {
    peer: IpAddr,
    socket: Arc<TcpStream>,
    asked: mpsc::UnboundedReceiver<ParsedRequest>,
    answers: answers::Sender<AnswerBytes>,
}

impl Drop for NewConnection {
    fn drop(&mut self) {
        // The client may have ended it already.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

/// Runs `thread` until it is stopped and drained.
pub(crate) fn run(mut thread: CoreThread) -> io::Result<()> {
    // may's workers are started from the first of these threads, and would have to stay where it does.
    let cpu = thread.cpu.take();
    run_with(thread, |thread| serve(thread, cpu))
}

async fn serve(thread: CoreThread, cpu: Option<usize>) -> io::Result<()> {
    let CoreThread { socket, open, listens, parts, mailbox, stop, .. } = thread;
    let limits = parts.core.limits();
    let shard = begin(parts, mailbox, Monoio);
    first(stop.cancelled(), open.cancelled()).await;
    if !stop.is_cancelled() {
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        may::config().set_stack_size(STACK_WORDS);
        let (arrives, mut arrived) = mpsc::unbounded_channel();
        // It binds a socket of its own; ours only reserved the port.
        let acceptor = Services { arrives, limits }.start(address)?;
        if let Some(cpu) = cpu {
            stay_on(cpu);
        }
        drop(socket);
        // The receiver may have given up.
        let (Ok(()) | Err(())) = listens.send(());
        let take = async {
            while let Some(connection) = arrived.recv().await {
                take(connection, &shard);
            }
        };
        first(stop.cancelled(), take).await;
        end(&acceptor);
    }
    drain(&shard, Monoio).await;
    Ok(())
}

#[expect(unsafe_code, reason = "a coroutine can't be ended otherwise")]
fn end(acceptor: &may::coroutine::JoinHandle<()>) {
    // SAFETY: it is unwound where it waits for a client, and owns nothing but its socket and a sender.
    unsafe { acceptor.coroutine().cancel() };
    acceptor.wait();
}

fn take(mut connection: NewConnection, shard: &Rc<Shard>) {
    if let Ok(id) = shard.open(connection.peer) {
        let shard = shard.clone();
        Monoio.spawn(async move {
            session(&shard, id, &mut connection).await;
            shard.close(id);
        });
    }
}

/// Answers one request after another, until either side ends it.
async fn session(shard: &Rc<Shard>, id: ConnId, connection: &mut NewConnection) {
    loop {
        let mut out = Vec::new();
        let asked = poll_fn(|context| {
            if let Poll::Ready(asked) = connection.asked.poll_recv(context) {
                return Poll::Ready(asked);
            }
            if shard.poll_client(id, &mut out) != Next::Read {
                return Poll::Ready(None);
            }
            shard.park(id, context.waker());
            Poll::Pending
        });
        let Some(asked) = asked.await else { return };
        asked.lend(|request| shard.handle_request(id, request));
        let last = loop {
            match shard.poll_client(id, &mut out) {
                Next::Write => {}
                Next::Wait => shard.woken(id).await,
                Next::Read => break false,
                Next::Close => break true,
            }
        };
        if connection.answers.send(AnswerBytes { bytes: out, last }).is_err() {
            return;
        }
        if last {
            // The coroutine writes it and ends.
            let ended = async { while connection.asked.recv().await.is_some() {} };
            return first(ended, Monoio.sleep(LINGER)).await;
        }
    }
}

/// Makes the service of each connection, on a coroutine.
struct Services {
    arrives: mpsc::UnboundedSender<NewConnection>,
    limits: Limits,
}

impl HttpServiceFactory for Services {
    type Service = Service;

    fn new_service(&self, descriptor: usize) -> Service {
        let (asks, asked) = mpsc::unbounded_channel();
        let (answers, answered) = answers::channel();
        let socket = dup(descriptor).ok().map(Arc::new);
        if let Some(socket) = &socket {
            // A small answer does not wait for the client's acknowledgement of the one before.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            let peer = socket.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
            // Where the core thread has ended, that ends the connection.
            drop(self.arrives.send(NewConnection { peer, socket: socket.clone(), asked, answers }));
        }
        Service::new(socket, self.limits, asks, answered)
    }
}

#[expect(unsafe_code, reason = "may_minihttp shows a socket by its number only")]
fn dup(descriptor: usize) -> io::Result<TcpStream> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: `HttpServiceFactory::start` holds the socket of this number while it asks for the service.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(socket.try_clone_to_owned()?.into())
}
