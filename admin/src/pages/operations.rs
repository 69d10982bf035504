//! Parked sales and refunds, dead letters, and the audit log.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::{ActivityId, RefundId};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use store::{AuditQuery, PARKED_REASON_CHARS_MAX, Page, Refund};
use web::Path;

use super::{
    catalogue::{CursorQuery, page_at},
    form::{Errors, Posted, button, hidden, submit},
    frame::{failed, heading, missing, page, pager},
    list::Filters,
    session::Visitor,
    text::{Lang, grouped, time, yuan},
};
use crate::actions::{Api, Refusal, Role, fields::named, letters, orders};

/// Dead letters that are shown.
const LETTERS_SHOWN: u32 = 50;
/// Parked refunds that are shown.
const REFUNDS_SHOWN: u32 = 50;
/// The status of a refund that waits for an admin.
pub(super) const PARKED_REFUND: &str = "parked";

pub(super) async fn parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<CursorQuery>,
) -> Response {
    show_parked(&api, &visitor, &query.cursor, &Errors::default(), StatusCode::OK).await
}

async fn show_parked<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    cursor: &str,
    errors: &Errors,
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let listed = match api.store.sales().parked_page(page_at(cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let letters = match letters::list(api, (i64::MAX, LETTERS_SHOWN)).await {
        Ok((letters, _)) => letters,
        Err(refusal) => return failed(lang, &refusal),
    };
    let refunds = match api.store.refunds(Some(PARKED_REFUND), Page { before: i64::MAX, limit: REFUNDS_SHOWN }).await {
        Ok(refunds) => refunds.items,
        Err(error) => return failed(lang, &error.into()),
    };
    let may = visitor.may(Role::Operator);
    let title = lang.t("运维", "Operations");
    let body = html! {
        (heading(title, &html! {}))
        (errors.summary(lang))
        section.stack { h2 { (lang.t("搁置的活动", "Parked sales")) }
            p.muted { (lang.t("数据库暂时不能接收这些活动的日志；其他活动不受影响。", "The database can't take in the journal of these sales at present; all others go on.")) }
            @if listed.items.is_empty() { p.panel { (lang.t("没有搁置的活动。", "No sale is parked.")) } }
            @for row in &listed.items {
                article.panel.stack {
                    div.row { strong { a href={ "/admin/sales/" (row.activity) } { (row.activity) } } @if row.dropped.is_some() { span.badge { (lang.t("已放弃", "Given up")) } } @else { span.badge.bad { (lang.t("搁置", "Parked")) } } }
                    p { (row.reason) }
                    p.muted { (lang.t("自", "Since")) " " (time(row.since_ms)) " · " (lang.t("失败次数", "tries")) " " (row.tries) " · " (lang.t("等待条目", "entries")) " " (grouped(row.entries)) " · " (lang.t("下次重试", "next try")) " " (time(row.next_try_ms)) }
                    @if let Some(reason) = &row.dropped { p { (lang.t("放弃原因：", "Reason: ")) (reason) } }
                    @if may {
                        div.row.wrap {
                            (button(visitor, &format!("/admin/parked/{}/retry", row.activity), lang.t("立即重试", "Retry now"), "primary", &[]))
                            form.inline.reason method="post" action={ "/admin/parked/" (row.activity) "/drop" } { (hidden(visitor))
                                input name="reason" maxlength=(PARKED_REASON_CHARS_MAX) placeholder=(lang.t("放弃的原因", "Why it is given up")) aria-label=(lang.t("放弃的原因", "Why it is given up")) required;
                                button.danger type="submit" { (lang.t("放弃", "Give up")) } }
                        }
                    }
                }
            }
            (pager(visitor, ("/admin/parked", ""), listed.next))
        }
        section.stack { h2 { (lang.t("搁置的退款", "Parked refunds")) }
            p.muted { (lang.t("多次发送失败的退款，钱还没有退回。", "Refunds that could not be sent. The money has not gone back.")) }
            @if refunds.is_empty() { p.panel { (lang.t("没有搁置的退款。", "No refund is parked.")) } }
            @for refund in &refunds { (refund_card(visitor, refund)) }
        }
        section.stack { h2 { (lang.t("死信", "Dead letters")) }
            p.muted { (lang.t("后台程序放弃的记录。", "Records that a worker has given up.")) }
            @if letters.is_empty() { p.panel { (lang.t("没有死信。", "There is no dead letter.")) } }
            @for letter in &letters { (letter_card(visitor, letter)) }
        }
    };
    page(visitor, status, title, &body)
}

fn refund_card(visitor: &Visitor, refund: &Refund) -> Markup {
    let lang = visitor.lang;
    html! {
        article.panel.stack {
            div.row { strong { a href={ "/admin/orders/" (refund.order) } { (lang.t("订单", "Order")) " " (refund.order) } } span.badge.bad { (yuan(refund.amount.get())) } }
            p { (refund.last_error.as_deref().unwrap_or_default()) }
            p.muted { (refund.method) " · " (lang.t("失败次数", "tries")) " " (refund.tries) " · " (time(refund.created_at_ms)) }
            @if visitor.may(Role::Admin) {
                div.row.wrap { (button(visitor, &format!("/admin/refunds/{}/retry", refund.id), lang.t("立即重试", "Retry now"), "primary", &[])) }
            }
        }
    }
}

pub(super) async fn retry_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<RefundId>,
    Posted { visitor, .. }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    decide(&api, &visitor, orders::retry_refund(&api, &visitor.staff, id)).await
}

fn letter_card(visitor: &Visitor, (letter, decided): &letters::Decided) -> Markup {
    let (lang, record) = (visitor.lang, &letter.letter);
    let path = format!("/admin/letters/{}", letter.id);
    let is_replayed = decided.as_ref().is_some_and(|decided| decided.decision == store::REPLAYED);
    html! {
        article.panel.stack {
            div.row { strong { (record.topic) "/" (record.partition) " @ " (record.offset) }
                @match decided {
                    None => span.badge.bad { (lang.t("待处理", "Open")) },
                    Some(_) if is_replayed => span.badge.good { (lang.t("已重放", "Replayed")) },
                    Some(_) => span.badge { (lang.t("已放弃", "Dropped")) },
                } }
            p { (record.reason) }
            p.muted { (record.group) " · " (grouped(record.value.len() as u64)) " B" @if let Some(decided) = decided { " · " (decided.reason) " " (time(decided.decided_at_ms)) } }
            @if visitor.may(Role::Operator) && !is_replayed {
                div.row.wrap {
                    (button(visitor, &format!("{path}/replay"), lang.t("重放", "Replay"), "primary", &[]))
                    form.inline.reason method="post" action={ (path) "/drop" } { (hidden(visitor))
                        input name="reason" maxlength=(store::LETTER_REASON_CHARS_MAX) placeholder=(lang.t("放弃的原因", "Why it is given up")) aria-label=(lang.t("放弃的原因", "Why it is given up")) required;
                        button.danger type="submit" { (lang.t("放弃", "Give up")) } }
                }
            }
        }
    }
}

pub(super) async fn decide_letter<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path((id, verb)): Path<(i64, String)>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let is_replay = match verb.as_str() {
        "replay" => true,
        "drop" => false,
        _ => return missing(&visitor),
    };
    let deciding = async {
        if is_replay {
            letters::replay(&api, &visitor.staff, id).await
        } else {
            letters::give_up(&api, &visitor.staff, id, fields.get("reason")).await
        }
    };
    decide(&api, &visitor, deciding).await
}

/// Back to the operations after a decision, or why it was not carried out.
async fn decide<K: LedgerClient, C: Clock, T>(
    api: &Api<K, C>,
    visitor: &Visitor,
    deciding: impl Future<Output = Result<T, Refusal>>,
) -> Response {
    submit(visitor, deciding, "/admin/parked", async |errors: Errors, status| {
        show_parked(api, visitor, "", &errors.renamed("reason", ""), status).await
    })
    .await
}

pub(super) async fn retry_parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ActivityId>,
    Posted { visitor, .. }: Posted,
) -> Response {
    let retrying = async {
        let parked = api.store_of(&visitor.staff).sales().retry_soon(id, api.clock.now_ms()).await?;
        parked.ok_or(Refusal::Unknown("parked sale"))
    };
    decide(&api, &visitor, retrying).await
}

pub(super) async fn drop_parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ActivityId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let reason = fields.get("reason").trim();
    let dropping = async {
        let why = |_| Refusal::invalid("reason", visitor.lang.t("请写明原因。", "Say why."));
        named(reason, PARKED_REASON_CHARS_MAX, "reason").map_err(why)?;
        api.store_of(&visitor.staff).sales().drop_parked(id, reason).await?.ok_or(Refusal::Unknown("parked sale"))
    };
    decide(&api, &visitor, dropping).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogQuery {
    action: String,
    subject: String,
    id: String,
    admin: String,
    cursor: String,
}

pub(super) async fn audit_log<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<LogQuery>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let lang = visitor.lang;
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let which = AuditQuery {
        admin: query.admin.trim().parse().ok(),
        action: text(&query.action),
        subject: text(&query.subject),
        subject_id: text(&query.id).map(|id| store::cursor_number(&id).unwrap_or(-1)),
        ..AuditQuery::default()
    };
    let listed = match api.store.accounts().audit_log(&which, page_at(&query.cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let pairs = [("action", query.action), ("subject", query.subject), ("id", query.id), ("admin", query.admin)];
    let filters = Filters::new(&visitor, "/admin/audit-log", pairs);
    let title = lang.t("审计日志", "Audit log");
    let body = html! {
        (heading(title, &html! {}))
        (filters.form(|shown, lang| html! {
            (shown.input("action", lang.t("操作", "Action"), "search", ""))
            (shown.input("subject", lang.t("对象类型", "Kind"), "search", ""))
            (shown.input("id", lang.t("对象编号", "Id"), "search", ""))
            (shown.input("admin", lang.t("员工编号", "Account id"), "search", ""))
        }))
        @if listed.items.is_empty() { p.panel { (lang.t("没有符合条件的记录。", "No entry matches.")) } }
        @for entry in &listed.items {
            details.panel.entry {
                summary { strong { (entry.action) } " "
                    span { (entry.subject.as_deref().unwrap_or_default()) " " (entry.subject_id.map(|id| id.to_string()).unwrap_or_default()) }
                    span.muted { (entry.username) " · " (entry.address) " · " (time(entry.at_ms)) } }
                (difference(lang, entry.before.as_ref(), entry.after.as_ref()))
            }
        }
        (filters.pager(listed.next))
    };
    page(&visitor, StatusCode::OK, title, &body)
}

/// What a change has changed, member by member.
fn difference(lang: Lang, before: Option<&Value>, after: Option<&Value>) -> Markup {
    let empty = serde_json::Map::new();
    let members = |value: Option<&Value>| value.and_then(Value::as_object).unwrap_or(&empty).clone();
    let (before, after) = (members(before), members(after));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    html! {
        div.scroll { table.diff {
            thead { tr { th { (lang.t("字段", "Field")) } th { (lang.t("之前", "Before")) } th { (lang.t("之后", "After")) } } }
            tbody { @for name in names {
                tr.changed[before.get(name) != after.get(name)] { th { (name) } td { (shown(before.get(name))) } td { (shown(after.get(name))) } }
            } }
        } }
    }
}
