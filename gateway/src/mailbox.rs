//! What other threads tell a core thread.

use contract::stock::BatchReply;
use gateway_core::{BatchId, Control, Unavailable};
use tokio::sync::mpsc;

/// Control messages that may wait for one core; the sender waits beyond it.
pub(crate) const CONTROL_QUEUE_MAX: usize = 64;

/// The ledger's answer to one batch.
pub(crate) type LedgerReply = (BatchId, Result<BatchReply, Unavailable>);

/// Takes answers from the ledger. It needs no bound of its own: an activity has one batch in flight.
pub(crate) type ReplySender = mpsc::UnboundedSender<LedgerReply>;

/// A core's two mailboxes, as the core thread has them.
pub(crate) struct Mailbox {
    pub(crate) replies: mpsc::UnboundedReceiver<LedgerReply>,
    pub(crate) controls: mpsc::Receiver<Control>,
}

/// The same as the others have them.
#[derive(Clone)]
pub(crate) struct CoreHandle {
    pub(crate) replies: ReplySender,
    pub(crate) controls: mpsc::Sender<Control>,
}

pub(crate) fn mailbox() -> (CoreHandle, Mailbox) {
    let (replies, replies_in) = mpsc::unbounded_channel();
    let (controls, controls_in) = mpsc::channel(CONTROL_QUEUE_MAX);
    (CoreHandle { replies, controls }, Mailbox { replies: replies_in, controls: controls_in })
}
