//! What needs no token: time, activities, and the state of the process.

use contract::{ActivityId, SkuId};
use serde_json::json;

use super::{Handlers, PartReason, Turn, WrittenAnswer};
use crate::{Answer, Now, board, http::Headers};

/// Activities in one answer, where the client does not say.
const LIST_LIMIT_DEFAULT: usize = 20;
/// Activities in one answer at most.
const LIST_LIMIT_MAX: usize = 100;

const _: () = assert!(LIST_LIMIT_DEFAULT <= LIST_LIMIT_MAX);

/// What a list's query asks for.
struct Page {
    limit: usize,
    /// Start and id of the last activity of the page before.
    after: Option<(u64, ActivityId)>,
    sku: Option<SkuId>,
}

/// `GET /api/v1/time`.
pub(super) fn time(turn: &mut Turn<'_, '_>, now: Now) -> WrittenAnswer {
    let now = board::Rfc3339Ms(now.wall_ms);
    turn.say_json(Answer::Read, None, format_args!(r#"{{"now":"{now}"}}"#))
}

impl Handlers {
    /// Activities that have not ended, by start and id.
    pub(super) fn activities(&mut self, turn: &mut Turn<'_, '_>, query: &str, now: Now) -> WrittenAnswer {
        if !self.caught_up {
            return turn.refuse(Answer::Unavailable);
        }
        let Some(page) = Page::read(query) else { return turn.refuse(Answer::InvalidQuery) };
        turn.say_public(|body| {
            board::list_start(body);
            let mut next_cursor = None;
            if page.sku.is_none_or(|sku| self.gate.may_have_sku(sku)) {
                let wanted = self.board.listed(page.after).filter(|(activity, _)| {
                    activity.rules.ends_at_ms > now.wall_ms && page.sku.is_none_or(|sku| activity.sku == sku)
                });
                let mut last = None;
                for (taken, (activity, sale)) in wanted.enumerate() {
                    if taken == page.limit {
                        next_cursor = last;
                        break;
                    }
                    board::list_item(body);
                    board::detail(activity, sale, now.wall_ms, body);
                    last = Some((activity.rules.starts_at_ms, activity.id));
                }
            }
            board::list_end(body, next_cursor);
        })
    }

    /// One activity.
    pub(super) fn activity(
        &mut self,
        turn: &mut Turn<'_, '_>,
        activity: Option<ActivityId>,
        now: Now,
    ) -> WrittenAnswer {
        if !self.caught_up {
            return turn.refuse(Answer::Unavailable);
        }
        let known = activity.filter(|activity| self.gate.may_have_activity(*activity));
        let Some((activity, sale)) = known.and_then(|activity| self.board.sale(activity)) else {
            return turn.refuse(Answer::UnknownActivity);
        };
        turn.say_public(|body| board::detail(activity, sale, now.wall_ms, body))
    }

    /// `GET /readyz`.
    pub(super) fn readyz(&mut self, turn: &mut Turn<'_, '_>) -> WrittenAnswer {
        let own = |reason: &str| PartReason { part: "gateway".to_owned(), reason: reason.to_owned() };
        let mut reasons = Vec::new();
        if !self.caught_up {
            reasons.push(own("the log is not replayed yet"));
        }
        if self.draining {
            reasons.push(own("the process is shutting down"));
        }
        reasons.extend(self.readiness.reasons.iter().cloned());
        let is_ready = reasons.is_empty();
        let mut body = json!({ "ready": is_ready, "reasons": reasons });
        if !self.readiness.warnings.is_empty() {
            body["warnings"] = json!(&*self.readiness.warnings);
        }
        let body = body.to_string();
        let answer = if is_ready { Answer::Read } else { Answer::NotReady };
        let retry_after_s = (!is_ready).then_some(1);
        let headers = Headers { content_type: Some("application/json"), retry_after_s, ..Headers::default() };
        turn.write(answer, &headers, body.as_bytes())
    }
}

impl Page {
    fn read(query: &str) -> Option<Self> {
        let mut page = Self { limit: LIST_LIMIT_DEFAULT, after: None, sku: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=')? {
                ("limit", limit) => {
                    page.limit = limit.parse().ok().filter(|limit| (1..=LIST_LIMIT_MAX).contains(limit))?;
                }
                ("cursor", cursor) => {
                    let (start, id) = cursor.split_once('-')?;
                    page.after = Some((start.parse().ok()?, id.parse().ok()?));
                }
                ("sku_id", sku) => page.sku = Some(sku.parse().ok()?),
                _ => return None,
            }
        }
        Some(page)
    }
}
