//! Messages from other threads to a core thread.

use contract::stock::BatchReply;
use gateway_core::{BatchId, Control, Unavailable};
use tokio::sync::mpsc;

/// Control messages that may wait for one core; the sender waits beyond it.
pub(crate) const CONTROL_QUEUE_MAX: usize = 64;

/// The ledger's answer to one batch.
pub(crate) type LedgerReply = (BatchId, Result<BatchReply, Unavailable>);

/// Sends the ledger's replies to the core. It needs no bound of its own: an activity has one batch in flight.
pub(crate) type ReplySender = mpsc::UnboundedSender<LedgerReply>;

/// The receiving ends of a core's two mailboxes.
pub(crate) struct Mailbox {
    pub(crate) replies: mpsc::UnboundedReceiver<LedgerReply>,
    pub(crate) controls: mpsc::Receiver<Control>,
}

/// The sending ends of a core's two mailboxes.
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
