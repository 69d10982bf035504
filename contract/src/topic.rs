//! The topics of the log: their names, keys and what they keep.

/// One topic. Partitions and retention are fixed when it is first created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name on the log.
    pub name: String,
    /// Records of one key stay in order; there are this many orders at once.
    pub partitions: u32,
    /// What may be forgotten.
    pub retention: Retention,
}

/// When a record may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Once it is older than this and every consumer group has passed it.
    AgeMs(u64),
    /// Once a newer record has the same key.
    LatestPerKey,
}

const HOUR_MS: u64 = 3600 * 1000;
const DAY_MS: u64 = 24 * 3600 * 1000;
const WEEK_MS: u64 = 7 * DAY_MS;

/// The ledger's journal: every entry of every activity in the order of its `seq`. Key: activity.
pub const ORDERS: &str = "seckill.orders";
/// What the mall asks of the ledger: settle, release. Key: activity.
pub const COMMANDS: &str = "seckill.commands";
/// Activities as their admins wrote them, the last version of each. Key: activity.
pub const ACTIVITIES: &str = "mall.activities";
/// Who may and who may not ask for units of a sale, the last word on each user. Key: activity and user.
pub const ENTRY_RULES: &str = "mall.entry-rules";
/// Products that shoppers see otherwise than before. Key: product.
pub const CATALOGUE: &str = "mall.catalogue";
/// State changes of orders. Key: order; of several in one record, the first one's.
pub const ORDER_EVENTS: &str = "mall.order-events";
/// The partitions of [`ORDER_EVENTS`].
pub const ORDER_EVENTS_PARTITIONS: u32 = 4;
/// Records that can't be read after [`POISON_TRIES`]. Key: the record's own.
pub const DEAD_LETTERS: &str = "mall.dead-letters";
/// Every topic of unpaid-order deadlines begins so; the delay in milliseconds follows.
pub const TIMEOUTS_PREFIX: &str = "mall.order-timeouts.";

/// Access tokens that are not good any more: users who were blocked, signed out, or changed their password. Key: user.
pub const TOKEN_CUTS: &str = "mall.token-cuts";
/// How long a cut is kept: longer than any access token that the mall signs is good.
pub const TOKEN_CUTS_KEPT_MS: u64 = (crate::token::ACCESS_S + 600) * 1000;
/// How far the clocks of the mall's processes may differ. A cut is later than its reader's clock by no more than this: a
/// process whose clock is hours ahead must not end the tokens of hours to come.
pub const CUT_LEEWAY_MS: u64 = 10_000;

/// What every process reports of itself, once a second ([`crate::record::ProcessReport`]). Key: process.
pub const PROCESSES: &str = "mall.processes";
/// Which data directory makes ids with which worker id ([`crate::record::WorkerClaim`]). One partition, because of two
/// claims the first one counts. Not compacted, because that would keep the last. Key: none.
pub const WORKER_CLAIMS: &str = "mall.worker-claims";

/// How often a record is tried before it goes to [`DEAD_LETTERS`].
pub const POISON_TRIES: u32 = 3;

/// The topic of orders that are due `delay_ms` after they were made. All records of one topic wait
/// equally long, so a partition's head is always the next one due. Key: order.
pub fn timeouts(delay_ms: u64) -> Topic {
    Topic { name: format!("{TIMEOUTS_PREFIX}{delay_ms}"), partitions: 4, retention: Retention::AgeMs(WEEK_MS) }
}

/// The topics with fixed names.
pub fn fixed() -> [Topic; 10] {
    let topic = |name: &str, partitions, retention| Topic { name: name.to_owned(), partitions, retention };
    [
        topic(ORDERS, 4, Retention::AgeMs(WEEK_MS)),
        topic(COMMANDS, 4, Retention::AgeMs(WEEK_MS)),
        topic(ACTIVITIES, 1, Retention::LatestPerKey),
        topic(ENTRY_RULES, 1, Retention::LatestPerKey),
        topic(CATALOGUE, 1, Retention::AgeMs(DAY_MS)),
        topic(ORDER_EVENTS, ORDER_EVENTS_PARTITIONS, Retention::AgeMs(DAY_MS)),
        topic(TOKEN_CUTS, 1, Retention::AgeMs(TOKEN_CUTS_KEPT_MS)),
        topic(PROCESSES, 1, Retention::AgeMs(HOUR_MS)),
        topic(WORKER_CLAIMS, 1, Retention::AgeMs(DAY_MS)),
        topic(DEAD_LETTERS, 1, Retention::AgeMs(4 * WEEK_MS)),
    ]
}

/// The partition of `key` among `partitions`: FNV-1a, so that every writer agrees.
///
/// # Panics
/// If `partitions` is 0.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has at least one partition");
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash % partitions
}
