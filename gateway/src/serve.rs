//! What runs on every core thread, whatever the runtime.

use std::{io, net::IpAddr, rc::Rc, time::Instant};

use crate::{
    mailbox::Mailbox,
    net::{Listening, Net, first},
    session,
    shard::{Parts, Shard},
    thread::{ACCEPT_RETRY, BACKLOG, CoreThread, DRAIN_MAX, TICK},
};

#[cfg(feature = "redis")]
use crate::redis;

/// Serves clients by bytes until the thread is stopped and drained.
pub(crate) async fn serve<N: Listening>(thread: CoreThread, net: N) -> io::Result<()> {
    let CoreThread { socket, open, listens, parts, mailbox, stop, .. } = thread;
    let shard = begin(parts, mailbox, net);
    first(stop.cancelled(), open.cancelled()).await;
    if !stop.is_cancelled() {
        socket.listen(BACKLOG)?;
        let listener = net.listener(socket)?;
        // The receiver may have given up.
        let (Ok(()) | Err(())) = listens.send(());
        first(stop.cancelled(), accept(&listener, &shard, net)).await;
    }
    drain(&shard, net).await;
    Ok(())
}

/// Makes the shard, and starts its background tasks.
pub(crate) fn begin(parts: Parts, mailbox: Mailbox, net: impl Net) -> Rc<Shard> {
    let shard = Shard::new(parts);
    let Mailbox { mut replies, mut controls } = mailbox;
    #[cfg(feature = "redis")]
    if let Some(link) = shard.redis().cloned() {
        net.spawn(redis::run(link.clone(), net));
        let taker = shard.clone();
        net.spawn(async move { taker.take_replies(&link).await });
    }
    let flushed = shard.clone();
    net.spawn(async move { flushed.flush().await });
    let replied = shard.clone();
    net.spawn(async move {
        while let Some(reply) = replies.recv().await {
            replied.handle_reply(reply);
        }
    });
    let controlled = shard.clone();
    net.spawn(async move {
        while let Some(control) = controls.recv().await {
            controlled.handle_control(control);
        }
    });
    let ticked = shard.clone();
    net.spawn(async move {
        loop {
            net.sleep(TICK).await;
            ticked.tick();
        }
    });
    shard
}

/// Waits until the open connections have ended.
pub(crate) async fn drain(shard: &Shard, net: impl Net) {
    let stopped = Instant::now();
    shard.drain();
    while shard.connections() > 0 && stopped.elapsed() < DRAIN_MAX {
        net.sleep(TICK).await;
    }
    shard.tick();
}

async fn accept<N: Listening>(listener: &N::Listener, shard: &Rc<Shard>, net: N) {
    loop {
        match net.accept(listener).await {
            Ok((client, peer)) => take(client, peer, shard, net),
            Err(error) if is_of_one_client(&error) => {
                tracing::debug!(%error, "a client closed its connection before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                net.sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether the error concerns only a connection that ended in the queue (accept(2)); the next client must not wait.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

fn take<N: Listening>(client: N::Client, peer: IpAddr, shard: &Rc<Shard>, net: N) {
    if let Ok(id) = shard.open(peer) {
        let shard = shard.clone();
        net.spawn(async move { session::serve(&shard, id, client, net).await });
    }
}
