//! What anybody may read: time, activities, and how the process is.

use contract::{ActivityId, SkuId};

use super::{ConnId, Core, connection::Phase, serve::Turn};
use crate::{
    Answer, Now, board,
    http::{Headers, list, respond},
};

/// Activities in one answer, where the client does not say.
const LIST_LIMIT_DEFAULT: usize = 20;
/// Activities in one answer at most.
const LIST_LIMIT_MAX: usize = 100;

/// What a list's query asks for.
struct Page {
    limit: usize,
    /// Start and id of the last activity of the page before.
    after: Option<(u64, ActivityId)>,
    sku: Option<SkuId>,
}

impl Core {
    pub(super) fn time(&mut self, turn: &mut Turn<'_, '_>) -> Phase {
        let now = board::Rfc3339Ms(self.now.wall_ms);
        self.say_json(turn, Answer::Read, None, format_args!(r#"{{"now":"{now}"}}"#))
    }

    /// Running and coming activities, by start and id.
    pub(super) fn activities(&mut self, turn: &mut Turn<'_, '_>, query: &str) -> Phase {
        if !self.caught_up {
            return self.refuse_turn(turn, Answer::Unavailable);
        }
        let Some(page) = Page::read(query) else { return self.refuse_turn(turn, Answer::InvalidQuery) };
        let wall_ms = self.now.wall_ms;
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        board::list_start(&mut body);
        let mut next_cursor = None;
        if page.sku.is_none_or(|sku| self.gate.screen.may_have_sku(sku)) {
            let wanted = self.board.listed(page.after).filter(|(activity, _)| {
                activity.rules.ends_at_ms > wall_ms && page.sku.is_none_or(|sku| activity.sku == sku)
            });
            let mut last = None;
            for (taken, (activity, sale)) in wanted.enumerate() {
                if taken == page.limit {
                    next_cursor = last;
                    break;
                }
                board::list_item(&mut body);
                board::detail(activity, sale, wall_ms, &mut body);
                last = Some((activity.rules.starts_at_ms, activity.id));
            }
        }
        board::list_end(&mut body, next_cursor);
        let phase = self.public(turn, &body);
        self.scratch = body;
        phase
    }

    pub(super) fn activity(&mut self, turn: &mut Turn<'_, '_>, activity: Option<ActivityId>) -> Phase {
        if !self.caught_up {
            return self.refuse_turn(turn, Answer::Unavailable);
        }
        let known = activity.filter(|activity| self.gate.screen.may_have_activity(*activity));
        let Some((activity, sale)) = known.and_then(|activity| self.board.sale(activity)) else {
            return self.refuse_turn(turn, Answer::UnknownActivity);
        };
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        board::detail(activity, sale, self.now.wall_ms, &mut body);
        let phase = self.public(turn, &body);
        self.scratch = body;
        phase
    }

    /// Answers with what everybody may keep for a second, or says that the client's copy is good.
    fn public(&mut self, turn: &mut Turn<'_, '_>, body: &[u8]) -> Phase {
        let etag = etag(fnv1a(body));
        let same = turn.head.fields.if_none_match.is_some_and(|tags| matches_etag(tags, &etag));
        let answer = if same { Answer::NotModified } else { Answer::Read };
        let content_type = (!same).then_some("application/json");
        let headers =
            Headers { content_type, etag: str::from_utf8(&etag).ok(), public_1_s: true, ..Headers::default() };
        self.stats.count(answer);
        respond(turn.out, &turn.exchange, answer, &headers, &[if same { b"" } else { body }]);
        Phase::Receiving
    }

    pub(super) fn readyz(&mut self, turn: &mut Turn<'_, '_>) -> Phase {
        let mut reasons: Vec<&str> = Vec::new();
        if !self.caught_up {
            reasons.push("the log is not replayed yet");
        }
        if self.draining {
            reasons.push("the process is shutting down");
        }
        reasons.extend(self.not_ready.iter().map(String::as_str));
        let ready = reasons.is_empty();
        let body = serde_json::json!({ "ready": ready, "reasons": reasons }).to_string();
        let answer = if ready { Answer::Read } else { Answer::NotReady };
        let retry_after_s = (!ready).then_some(1);
        let headers = Headers { content_type: Some("application/json"), retry_after_s, ..Headers::default() };
        self.stats.count(answer);
        respond(turn.out, &turn.exchange, answer, &headers, &[body.as_bytes()]);
        Phase::Receiving
    }

    /// A connection that asked for `/metrics`: the shell renders them and calls [`Core::handle_metrics`].
    pub fn poll_metrics(&mut self) -> Option<ConnId> {
        self.metrics_asked.pop_front()
    }

    /// The text of `/metrics`, in Prometheus' format, for the connection that asked.
    pub fn handle_metrics(&mut self, id: ConnId, text: &[u8], now: Now) {
        self.now = now;
        self.with(id, |core, connection| {
            let Phase::Metrics(exchange) = connection.phase else { return };
            core.stats.count(Answer::Read);
            let headers = Headers { content_type: Some("text/plain; version=0.0.4"), ..Headers::default() };
            respond(&mut connection.out, &exchange, Answer::Read, &headers, &[text]);
            core.resume(id, connection, &exchange);
            core.announce(id, connection);
        });
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

/// A strong entity tag (RFC 9110 section 8.8.3) of a hash.
fn etag(hash: u64) -> [u8; 18] {
    let mut tag = [b'"'; 18];
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    for (pair, byte) in tag[1..17].chunks_mut(2).zip(hash.to_be_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    tag
}

/// `If-None-Match` compares weakly (RFC 9110 section 13.1.2).
fn matches_etag(tags: &[u8], etag: &[u8]) -> bool {
    list(tags).any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

/// The same for the same bytes on every gateway, which a seeded hash is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
