//! SIGTERM and Ctrl-C end the process in order; a second one ends it at once.

use std::{io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Readiness;

/// A token that is cancelled by SIGTERM or Ctrl-C, after the process was not ready for `drain`. Call it within a tokio
/// runtime, once.
///
/// # Errors
/// If the signals can't be listened to.
pub fn on_signal(drain: Duration, readiness: &Readiness) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let (cancelled, readiness) = (token.clone(), readiness.clone());
    tokio::spawn(async move {
        let first = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = first, ?drain, "stopping");
        readiness.drain();
        let stop = async {
            tokio::time::sleep(drain).await;
            cancelled.cancel();
            std::future::pending::<()>().await;
        };
        let (signal, code) = tokio::select! {
            () = stop => return,
            _ = terminate.recv() => ("SIGTERM", 143),
            _ = interrupt.recv() => ("SIGINT", 130),
        };
        tracing::warn!(signal, "ending at once: this is the second signal to stop");
        std::process::exit(code);
    });
    Ok(token)
}
