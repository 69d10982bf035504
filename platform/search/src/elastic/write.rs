//! Writing: `_bulk` with the product's version, one answer for each item.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use crate::{
    document::{BOUNDARY, Document, rank_score},
    index::{IndexError, Outcome, Position},
    plan::Field,
    product::{Change, Product},
    text::Analyzer,
};

/// Items and bytes of one request.
const BULK_ITEMS_MAX: usize = 500;
const BULK_BYTES_MAX: usize = 4 << 20;
/// How often an item is tried that the server had no room for, and how long the first pause is; each is twice the one before.
const TRIES_MAX: u32 = 6;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The id of the document that is no product.
pub(super) const POSITION: &str = "position";

/// Which version of a product is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    /// Older ones.
    Older,
    /// This one too: what has no part in the version has changed.
    Same,
}

/// Two lines for each item, and where the server's answer goes.
struct Item {
    lines: String,
    at: usize,
}

/// Writes changes to `index`, the newest of each product. The outcomes are in the order of the changes.
pub(super) fn write(
    client: &Client,
    analyzer: &Analyzer,
    index: &str,
    changes: &[&Change],
    replace: Replace,
    refresh: bool,
) -> Result<Vec<Outcome>, IndexError> {
    let mut outcomes = vec![Outcome::Older; changes.len()];
    let mut waiting: Vec<Item> = Vec::new();
    let mut bytes = 0;
    for (at, change) in changes.iter().enumerate() {
        let item = Item { lines: lines(analyzer, change, replace), at };
        if waiting.len() == BULK_ITEMS_MAX || bytes + item.lines.len() > BULK_BYTES_MAX {
            send(client, index, std::mem::take(&mut waiting), &mut outcomes, false)?;
            bytes = 0;
        }
        bytes += item.lines.len();
        waiting.push(item);
    }
    send(client, index, waiting, &mut outcomes, refresh)?;
    Ok(outcomes)
}

/// Sends items until each has an answer that will not change.
fn send(
    client: &Client,
    index: &str,
    items: Vec<Item>,
    outcomes: &mut [Outcome],
    refresh: bool,
) -> Result<(), IndexError> {
    let mut items = items;
    let mut failure = IndexError::Unavailable("the server has no room for more".to_owned());
    for number in 0..TRIES_MAX {
        if items.is_empty() {
            return Ok(());
        }
        if number > 0 {
            std::thread::sleep((PAUSE_MIN * 2_u32.pow(number - 1)).min(PAUSE_MAX));
        }
        let lines: String = items.iter().map(|item| item.lines.as_str()).collect();
        match client.bulk(&format!("/{index}/_bulk?refresh={refresh}"), lines) {
            Ok(answer) if answer.status == 200 => items = settled(&answer.body, items, outcomes)?,
            Ok(answer) if matches!(answer.status, 429 | 500..) => failure = answer.error(),
            Ok(answer) => return Err(answer.error()),
            // What became of the request is unknown; writing it again does no harm.
            Err(error) => failure = error,
        }
    }
    if items.is_empty() { Ok(()) } else { Err(failure) }
}

/// Notes the outcomes; the items that are to be sent again.
fn settled(answer: &Value, items: Vec<Item>, outcomes: &mut [Outcome]) -> Result<Vec<Item>, IndexError> {
    let answers = answer["items"].as_array().filter(|answers| answers.len() == items.len());
    let strange = || IndexError::Unavailable("the server's answer has not one outcome for each item".to_owned());
    let mut again = Vec::new();
    for (item, answer) in items.into_iter().zip(answers.ok_or_else(strange)?) {
        let answer = &answer["index"];
        match answer["status"].as_u64().ok_or_else(strange)? {
            200..=299 => outcomes[item.at] = Outcome::Written,
            409 => outcomes[item.at] = Outcome::Older,
            // The whole index is gone.
            404 => return Err(IndexError::Moved),
            429 | 500.. => again.push(item),
            status => {
                let reason = answer["error"]["reason"].as_str().unwrap_or("no reason given");
                outcomes[item.at] = Outcome::Rejected(format!("status {status}: {reason}"));
            }
        }
    }
    Ok(again)
}

fn lines(analyzer: &Analyzer, change: &Change, replace: Replace) -> String {
    let version_type = match replace {
        Replace::Older => "external",
        Replace::Same => "external_gte",
    };
    let id = change.id().to_string();
    let action = json!({"index": {"_id": id, "version": change.version(), "version_type": version_type}});
    let document = match change {
        Change::Put(product) => product_json(analyzer, product),
        // The server forgets the versions of deleted documents after a minute (`index.gc_deletes`), so a removed product stays
        // as a document that nothing finds.
        Change::Remove { id, version } => json!({"id": id.as_i64(), "version": version, "live": false}),
    };
    format!("{action}\n{document}\n")
}

fn product_json(analyzer: &Analyzer, product: &Product) -> Value {
    let document = Document::new(analyzer, product);
    let prices: Vec<i64> = product.offers.iter().map(|offer| offer.price_cents.get()).collect();
    let in_stock = product.offers.iter().filter(|offer| offer.in_stock);
    let prices_in_stock: Vec<i64> = in_stock.map(|offer| offer.price_cents.get()).collect();
    let categories: Vec<i64> = product.categories.iter().map(|category| category.id.as_i64()).collect();
    let mut json = json!({
        "id": product.id.as_i64(),
        "version": product.version,
        "live": true,
        "rank": rank_score(document.rank),
        "price": product.price_cents().get(),
        "prices": prices,
        "categories": categories,
        "prices_in_stock": prices_in_stock,
        "sales": product.sales,
        "created_at_ms": product.created_at_ms,
        "product": product,
    });
    for field in Field::ALL {
        debug_assert!(document.words(field).iter().all(|word| word == BOUNDARY || !word.contains(char::is_whitespace)));
        json[field.name()] = Value::String(document.words(field).join(" "));
    }
    json
}

/// Writes the position of an index that nobody else writes to.
pub(super) fn write_position(client: &Client, index: &str, position: &Position) -> Result<(), IndexError> {
    let body = json!({"live": false, "position": position.as_str()});
    let answer = client.ask("PUT", &format!("/{index}/_doc/{POSITION}"), Some(&body))?;
    if matches!(answer.status, 200 | 201) { Ok(()) } else { Err(answer.error()) }
}

/// The position in an index, and the document that holds it.
pub(super) struct PositionAt {
    pub position: Option<Position>,
    /// Sequence number and primary term of the document; `None` if there is no document.
    written: Option<(u64, u64)>,
}

/// The position in `index`.
pub(super) fn position(client: &Client, index: &str) -> Result<PositionAt, IndexError> {
    let answer = client.ask("GET", &format!("/{index}/_doc/{POSITION}"), None)?;
    match answer.status {
        200 => Ok(PositionAt {
            position: answer.body["_source"]["position"].as_str().and_then(Position::new),
            written: answer.body["_seq_no"].as_u64().zip(answer.body["_primary_term"].as_u64()),
        }),
        404 => Ok(PositionAt { position: None, written: None }),
        _ => Err(answer.error()),
    }
}

/// Writes the position after everything up to it, where nobody has written one since `before`; whether that is so.
pub(super) fn move_position(
    client: &Client,
    index: &str,
    before: &PositionAt,
    to: &Position,
) -> Result<bool, IndexError> {
    let condition = match before.written {
        Some((number, term)) => format!("if_seq_no={number}&if_primary_term={term}"),
        None => "op_type=create".to_owned(),
    };
    let body = json!({"live": false, "position": to.as_str()});
    let answer = client.ask("PUT", &format!("/{index}/_doc/{POSITION}?{condition}"), Some(&body))?;
    match answer.status {
        200 | 201 => Ok(true),
        // Another position, or another index: a document that is missing does not fulfil the condition either.
        404 | 409 => Ok(false),
        _ => Err(answer.error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: usize) -> Vec<Item> {
        (0..count).map(|at| Item { lines: String::new(), at: count - 1 - at }).collect()
    }

    #[test]
    fn each_item_has_an_answer_of_its_own() {
        let item = |status: u64| json!({"index": {"status": status, "error": {"reason": "no such field"}}});
        let answer =
            json!({"errors": true, "items": [item(201), item(409), item(429), item(400), item(503), item(200)]});
        let mut outcomes = vec![Outcome::Older; 6];
        let again = settled(&answer, items(6), &mut outcomes).unwrap();
        assert_eq!(again.iter().map(|item| item.at).collect::<Vec<_>>(), [3, 1], "no room now");
        assert_eq!((&outcomes[5], &outcomes[4], &outcomes[0]), (&Outcome::Written, &Outcome::Older, &Outcome::Written));
        assert_eq!(outcomes[2], Outcome::Rejected("status 400: no such field".to_owned()));
    }

    #[test]
    fn an_answer_of_another_form_is_no_outcome() {
        for answer in [
            json!({}),
            json!({"items": []}),
            json!({"items": [{}, {}]}),
            json!({"items": [{"index": {}}, 1]}),
            json!(null),
        ] {
            let mut outcomes = vec![Outcome::Older; 2];
            assert!(settled(&answer, items(2), &mut outcomes).is_err(), "{answer}");
        }
    }
}
