//! What runs now.

use axum::{extract::State, http::StatusCode, response::Response};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{AuditQuery, OrderQuery, Page, Sale, SalePhase};

use super::{
    frame::{failed, heading, page},
    operations::PARKED_REFUND,
    sales::{counters, state_badge},
    session::Visitor,
    text::{grouped, span, time, yuan},
};
use crate::actions::{Api, Refusal, Role, letters};

/// Sales of each kind that are shown.
const SALES_SHOWN: u32 = 6;

pub(super) async fn show<K: LedgerClient, C: Clock>(State(api): State<Api<K, C>>, visitor: Visitor) -> Response {
    match body(&api, &visitor).await {
        Ok(body) => page(&visitor, StatusCode::OK, visitor.lang.t("概览", "Overview"), &body),
        Err(refusal) => failed(visitor.lang, &refusal),
    }
}

async fn body<K: LedgerClient, C: Clock>(api: &Api<K, C>, visitor: &Visitor) -> Result<Markup, Refusal> {
    let (lang, now_ms) = (visitor.lang, api.clock.now_ms());
    let first = |limit| Page { before: i64::MAX, limit };
    let running = api.store.sales().find_sales(Some(SalePhase::Running), now_ms, first(SALES_SHOWN)).await?.items;
    let coming = api.store.sales().find_sales(Some(SalePhase::Scheduled), now_ms, first(SALES_SHOWN)).await?.items;
    let waiting = async |status: &str| {
        let which = OrderQuery { status: Some(status.to_owned()), ..OrderQuery::default() };
        let listed = api.store.staff_orders(&which, first(store::PAGE_MAX)).await?;
        let more = if listed.next.is_some() { "+" } else { "" };
        Ok::<_, Refusal>(format!("{}{more}", listed.items.len()))
    };
    let (to_ship, refunds) = (waiting("paid").await?, waiting("refunding").await?);
    let parked = api.store.sales().parked_page(first(store::PAGE_MAX)).await?.items;
    // A sale that was given up stays in the list, but needs no action.
    let parked = parked.iter().filter(|row| row.dropped.is_none()).count();
    let refunds_parked = api.store.refunds(Some(PARKED_REFUND), first(store::PAGE_MAX)).await?.items.len();
    let (letters, _) = letters::list(api, (i64::MAX, store::PAGE_MAX)).await?;
    let letters_open = letters.iter().filter(|(_, decided)| decided.is_none()).count();
    let stuck = parked + refunds_parked + letters_open;
    let recent = if visitor.may(Role::Admin) {
        api.store.accounts().audit_log(&AuditQuery::default(), first(5)).await?.items
    } else {
        Vec::new()
    };
    let mut cards = Vec::new();
    for sale in &running {
        cards.push(card(api, visitor, sale, now_ms).await?);
    }
    Ok(html! {
        (heading(lang.t("概览", "Overview"), &html! {
            @if visitor.may(Role::Operator) { a.button.primary href="/admin/sales/new" { (lang.t("新建活动", "New sale")) } }
        }))
        ul.figures {
            li { a href="/admin/sales?state=running" { strong { (running.len()) } span { (lang.t("进行中的活动", "Sales running")) } } }
            li { a href="/admin/orders?status=paid" { strong { (to_ship) } span { (lang.t("待发货订单", "Orders to ship")) } } }
            li { a href="/admin/orders?status=refunding" { strong { (refunds) } span { (lang.t("退款申请", "Refunds asked")) } } }
            li.bad[stuck > 0] { a href="/admin/parked" { strong { (stuck) } span { (lang.t("需要处理的故障", "Faults to look at")) } } }
        }
        section { h2 { (lang.t("进行中", "Running now")) }
            @if cards.is_empty() { p.panel.muted { (lang.t("现在没有活动。", "No sale is running.")) } }
            div.cards { @for card in &cards { (card) } }
        }
        section { h2 { (lang.t("即将开始", "Coming")) }
            @if coming.is_empty() { p.panel.muted { (lang.t("没有排期的活动。", "No sale is scheduled.")) } }
            @else {
                ul.panel.rows { @for sale in &coming {
                    li { a href={ "/admin/sales/" (sale.activity.id) } { (sale.activity.title) }
                        span.muted { (time(sale.activity.rules.starts_at_ms)) " · " (lang.t("还有", "in")) " " (span(lang, sale.activity.rules.starts_at_ms.saturating_sub(now_ms))) } }
                } }
            }
        }
        @if !recent.is_empty() {
            section { h2 { (lang.t("最近的操作", "Latest changes")) }
                ul.panel.rows { @for entry in &recent {
                    li { span { code { (entry.action) } " " (entry.subject.as_deref().unwrap_or_default()) @if let Some(id) = entry.subject_id { " " span.muted { (id) } } } span.muted { (entry.username) " · " (time(entry.at_ms)) } }
                } }
                p { a href="/admin/audit-log" { (lang.t("全部操作", "All changes")) } }
            }
        }
    })
}

/// A sale that runs, with what is left of it.
async fn card<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    sale: &Sale,
    now_ms: u64,
) -> Result<Markup, Refusal> {
    let lang = visitor.lang;
    let counters = counters(api, sale.activity.id).await;
    let (total, available, sold) =
        counters.map_or((sale.stock, sale.stock, 0), |counters| (counters.total, counters.available, counters.sold));
    let activity = &sale.activity;
    Ok(html! {
        article.panel.card {
            div.row { h3 { a href={ "/admin/sales/" (activity.id) } { (activity.title) } } (state_badge(lang, sale, now_ms)) }
            p.big { (grouped(available)) span.muted { " / " (grouped(total)) " " (lang.t("件剩余", "left")) } }
            meter min="0" max=(total.max(1)) value=(available) aria-label=(lang.t("剩余", "Left")) {}
            p.muted { (yuan(activity.price.get())) " · " (lang.t("已付", "paid")) " " (grouped(sold)) " · " (lang.t("剩余时间", "ends in")) " " (span(lang, activity.rules.ends_at_ms.saturating_sub(now_ms))) }
        }
    })
}
