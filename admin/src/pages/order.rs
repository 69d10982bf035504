//! Parts of an order's page: its history, a refund of a part, and the page for the printer.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode, response::Response};
use contract::{Cents, OrderId};
use domain::order_state::OrderState;
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{AuditQuery, Order, OrderHappening, Page, RefundOf};
use web::Path;

use super::{
    form::{Errors, Fields, Shown, hidden},
    frame::{bare, failed, missing},
    session::Visitor,
    text::{Lang, cents, time, yuan},
};
use crate::{
    actions::{Api, Refusal, Role},
    mask,
};

/// Entries of the audit log in a timeline.
const ENTRIES_MAX: u32 = 50;

/// Everything that happened to an order, the oldest first.
pub(super) async fn timeline<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: OrderId,
) -> Result<Markup, Refusal> {
    let lang = visitor.lang;
    let history = api.store.order_history(id).await?;
    let mut lines: Vec<(u64, String, String)> =
        history.into_iter().map(|event| (event.at_ms, happening(lang, &event.what), String::new())).collect();
    let which =
        AuditQuery { subject: Some("order".to_owned()), subject_id: Some(id.as_i64()), ..AuditQuery::default() };
    let entries = api.store.accounts().audit_log(&which, Page { before: i64::MAX, limit: ENTRIES_MAX }).await?.items;
    // The audit log names people, and is for admins alone.
    let name = |username: String| if visitor.may(Role::Admin) { username } else { String::new() };
    lines.extend(
        entries.into_iter().map(|entry| (entry.at_ms, staff_action(lang, &entry.action), name(entry.username))),
    );
    lines.sort_by_key(|(at_ms, ..)| *at_ms);
    Ok(html! {
        section.panel { h2 { (lang.t("经过", "Timeline")) }
            ol.rows.timeline { @for (at_ms, text, who) in &lines {
                li { span { (text) @if !who.is_empty() { " · " (who) } } span.muted { (time(*at_ms)) } }
            } }
        }
    })
}

fn happening(lang: Lang, what: &OrderHappening) -> String {
    let with = |zh, en, amount: &Cents| format!("{} {}", lang.t(zh, en), yuan(amount.get()));
    match what {
        OrderHappening::Ordered => lang.t("下单", "Ordered").to_owned(),
        OrderHappening::PaymentBegun(amount) => with("开始付款", "Payment begun:", amount),
        OrderHappening::Paid(amount) => with("付款到账", "Paid:", amount),
        OrderHappening::TimedOut => lang.t("超时未付，已关闭", "Closed, not paid in time").to_owned(),
        OrderHappening::Refund(amount, status) => {
            let status = match status.as_str() {
                "requested" => lang.t("待处理", "to be decided"),
                "approved" => lang.t("已同意，退款中", "approved, on its way"),
                "refused" => lang.t("已拒绝", "refused"),
                "done" => lang.t("已退回", "sent back"),
                "parked" => lang.t("退款失败，待处理", "failed, and waits for an admin"),
                other => other,
            };
            format!("{} ({status})", with("退款", "Refund:", amount))
        }
    }
}

fn staff_action(lang: Lang, action: &str) -> String {
    match action {
        "ship" => lang.t("员工标记为已发货", "Shipped by staff"),
        "decide_refund" => lang.t("员工处理了退款申请", "Refund decided by staff"),
        "ask_refund" => lang.t("员工提出退款", "Refund asked for by staff"),
        other => other,
    }
    .to_owned()
}

/// For an order that is paid: units of its lines, or an amount.
pub(super) fn refund_form(visitor: &Visitor, order: &Order, (fields, errors): (&Fields, &Errors)) -> Markup {
    let lang = visitor.lang;
    let shown = Shown { fields, errors };
    let lines = || order.lines.iter().enumerate().map(|(at, line)| (format!("line-{}", at + 1), line));
    html! {
        @if visitor.may(Role::Admin) && matches!(order.state, OrderState::Bought(_)) {
            details.panel open[!errors.is_empty() && !fields.get("reason").is_empty()] {
                summary { (lang.t("退款（部分或全部）", "Refund a part, or all of it")) }
                form.stack.narrow method="post" action={ "/admin/orders/" (order.id) "/refund-part" } {
                    (hidden(visitor))
                    p.muted { (lang.t("填写要退的件数；或者只填金额；都不填则退剩余全部。之后还要同意退款。", "Enter units, or only an amount, or neither for all that is left. The refund then has to be approved.")) }
                    @for (name, line) in lines() {
                        (shown.input(&name, &line.title, "number", &format!("{} {}", lang.t("可退件数：", "Units that can go back:"), line.quantity.saturating_sub(line.refunded))))
                    }
                    (shown.group_error("lines"))
                    (shown.input("amount", lang.t("金额（元，可选）", "Amount in yuan (optional)"), "text", ""))
                    (shown.input("reason", lang.t("理由", "Reason"), "text", ""))
                    button type="submit" { (lang.t("提出退款", "Ask for the refund")) }
                }
            }
        }
    }
}

/// What a form asks back.
pub(super) fn wanted(lang: Lang, fields: &Fields) -> Result<RefundOf, Refusal> {
    let mut lines = BTreeMap::new();
    for (name, units) in fields.pairs().filter(|(_, units)| !units.trim().is_empty()) {
        let Some(line_no) = name.strip_prefix("line-").and_then(|line| line.parse().ok()) else { continue };
        let text = lang.t("请填写整数件数。", "Enter whole units.");
        let units: u32 = units.trim().parse().map_err(|_| Refusal::invalid("lines", text))?;
        if units > 0 {
            lines.insert(line_no, units);
        }
    }
    let amount = match fields.get("amount").trim() {
        "" => None,
        text => {
            let hint = lang.t("请填写金额，例如 9.90。", "Enter an amount such as 9.90.");
            Some(Cents::new(cents(text).ok_or_else(|| Refusal::invalid("amount", hint))?))
        }
    };
    Ok(match (lines.is_empty(), amount) {
        (false, amount) => RefundOf::Lines(lines, amount),
        (true, Some(amount)) => RefundOf::Amount(amount),
        (true, None) => RefundOf::Rest,
    })
}

/// An order on paper, as it goes into the parcel.
pub(super) async fn print<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<OrderId>,
) -> Response {
    let lang = visitor.lang;
    let order = match api.store.staff_order(id).await {
        Ok(Some(order)) => mask::order(order, visitor.staff.role).order,
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(lang, &error.into()),
    };
    let text = |value: &Option<serde_json::Value>, name: &str| {
        value.as_ref().and_then(|value| value[name].as_str()).unwrap_or_default().to_owned()
    };
    let title = format!("{} {id}", lang.t("订单", "Order"));
    let body = html! {
        main.public.paper #main {
            div.heading { h1 { (title) } div.actions { a.button href={ "/admin/orders/" (id) } { (lang.t("返回", "Back")) } } }
            p { (lang.t("下单", "Ordered")) ": " (time(order.created_at_ms)) }
            @if order.address.is_some() {
                address.panel { strong { (text(&order.address, "recipient")) } " " (text(&order.address, "phone")) br;
                    (text(&order.address, "region")) " " (text(&order.address, "detail")) }
            }
            div.panel.scroll tabindex="0" { table.diff {
                thead { tr { th { (lang.t("商品", "Product")) } th { "SKU" } th.right { (lang.t("数量", "Units")) } th.right { (lang.t("单价", "Price")) } } }
                tbody { @for line in &order.lines { tr { td { (line.title) } td { (line.sku) } td.right { (line.quantity) } td.right { (yuan(line.price.get())) } } } }
                tfoot { tr { th { (lang.t("合计", "Total")) } th.right colspan="3" { (yuan(order.total.get())) } } }
            } }
            @if order.shipment.is_some() { p { (lang.t("物流", "Shipment")) ": " (text(&order.shipment, "carrier")) " " (text(&order.shipment, "tracking_no")) } }
        }
    };
    bare(lang, StatusCode::OK, &title, &body)
}
