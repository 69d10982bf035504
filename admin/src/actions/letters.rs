//! Dead letters: read, sent again, or dropped.

use std::sync::Arc;

use domain::Outgoing;
use foundation::Clock;
use store::{DecidedLetter, LETTER_REASON_CHARS_MAX};

use super::{Api, Refusal, Staff, fields::named};
use crate::letters::Letter;

/// A letter and what was decided about it.
pub(crate) type Decided = (Arc<Letter>, Option<DecidedLetter>);

/// One page of letters, and where the next one begins.
pub(crate) async fn list<K: Sync, C: Clock>(
    api: &Api<K, C>,
    (before, limit): (i64, u32),
) -> Result<(Vec<Decided>, Option<i64>), Refusal> {
    let limit = limit as usize;
    let mut letters = api.letters.page(before, limit + 1);
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = if more { letters.last().map(|letter| letter.id) } else { None };
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    let decided = api.store.sales().decided_letters(&ids).await?;
    let of = |letter: &Letter| decided.iter().find(|one| one.letter == letter.id).cloned();
    Ok((letters.into_iter().map(|letter| (Arc::clone(&letter), of(&letter))).collect(), next))
}

/// One letter.
pub(crate) async fn one<K: Sync, C: Clock>(api: &Api<K, C>, id: i64) -> Result<Decided, Refusal> {
    let letter = api.letters.find(id).ok_or(Refusal::Unknown("dead letter"))?;
    let decided = api.store.sales().decided_letters(&[id]).await?.pop();
    Ok((letter, decided))
}

/// Sends the record to its topic once more, in the transaction of the decision. A letter is sent once, however often
/// it is asked for.
pub(crate) async fn replay<K: Sync, C: Clock>(api: &Api<K, C>, staff: &Staff, id: i64) -> Result<Decided, Refusal> {
    let letter = api.letters.find(id).ok_or(Refusal::Unknown("dead letter"))?;
    let (topic, key, value) = (letter.letter.topic.clone(), letter.key.clone(), letter.letter.value.clone());
    let record = Outgoing { topic, key, value };
    api.store_of(staff).sales().replay_letter(id, record, api.clock.now_ms()).await?;
    one(api, id).await
}

/// Gives a letter up, for a reason. It stays on the log and can still be replayed.
pub(crate) async fn give_up<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: i64,
    reason: &str,
) -> Result<Decided, Refusal> {
    named(reason, LETTER_REASON_CHARS_MAX, "reason")?;
    let (_, decided) = one(api, id).await?;
    if decided.is_some_and(|decided| decided.decision == store::REPLAYED) {
        return Err(Refusal::conflict("the letter was replayed"));
    }
    api.store_of(staff).sales().drop_letter(id, reason, api.clock.now_ms()).await?;
    one(api, id).await
}
