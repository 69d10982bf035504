//! The live board of a sale, and its audit for the public.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{
    ActivityId,
    activity::{Activity, AnswerAfter, Door},
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::Sale;
use web::Path;

use super::{
    form::{button, log_failure},
    frame::{self, failed, heading, missing, page, status_of},
    sales::{Verb, state_badge},
    session::{Visitor, language_of},
    text::{Lang, grouped, span, time, yuan},
};
use crate::actions::{
    Api, Refusal, Role,
    boards::{Light, Tick, watch},
    traffic::{GatewayFigures, Traffic},
};

/// Digits of a process id that are shown.
const SHORT_ID_DIGITS: usize = 6;

pub(super) async fn show<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<ActivityId>,
) -> Response {
    let read = async {
        let Some(sale) = api.store.sales().sale(id).await? else { return Ok(None) };
        // The buttons must be there while the ledger does not answer.
        let last = watch(&api, id).await.ok().and_then(|mut ticks| ticks.pop());
        Ok::<_, Refusal>(Some((api.store.sales().is_audit_public(id).await?, last, sale)))
    };
    match read.await {
        Ok(Some((is_public, last, sale))) => {
            let body = board(&visitor, (&sale, api.clock.now_ms()), (last.as_deref(), &api.traffic()), is_public);
            page(&visitor, StatusCode::OK, &sale.activity.title, &body)
        }
        Ok(None) => missing(&visitor),
        Err(refusal) => failed(visitor.lang, &refusal),
    }
}

fn board(
    visitor: &Visitor,
    (sale, now_ms): (&Sale, u64),
    (last, traffic): (Option<&Tick>, &Traffic),
    is_public: bool,
) -> Markup {
    let lang = visitor.lang;
    let activity = &sale.activity;
    let id = activity.id;
    let may = visitor.may(Role::Operator);
    let is_editable = !sale.opening && activity.rules.starts_at_ms > now_ms;
    html! {
        (heading(&activity.title, &html! {
            (state_badge(lang, sale, now_ms))
            @if may {
                @for verb in Verb::of(sale, now_ms) {
                    a class=(if verb == Verb::End { "button danger" } else { "button" }) href={ "/admin/sales/" (id) "/do/" (verb.word()) } { (verb.label(lang)) }
                }
                @if is_editable { a.button href={ "/admin/sales/" (id) "/edit" } { (lang.t("修改", "Edit")) } }
                a.button href={ "/admin/sales/new?like=" (id) } { (lang.t("复制", "Duplicate")) }
            }
        }))
        div #board data-live={ "/admin/api/v1/activities/" (id) "/live" } data-lang=(lang.tag()) data-changes=[changes_at(activity, now_ms)] {
            (equation(lang, last))
            div.tiles {
                (tile("rate", lang.t("每秒抢到", "Accepted per second"), "–"))
                (tile("accepted", lang.t("累计抢到", "Accepted in all"), &last.map_or("–".to_owned(), |tick| grouped(tick.accepted))))
                (tile("released", lang.t("超时退回", "Given back"), &last.map_or("–".to_owned(), |tick| grouped(tick.released))))
                (tile("log-lag", lang.t("日志落后（条）", "Log behind, entries"), &last.map_or("–".to_owned(), |tick| grouped(tick.log_lag))))
                (tile("lag", lang.t("数据库落后（条）", "Database behind, entries"), &last.map_or("–".to_owned(), |tick| grouped(tick.lag))))
            }
            section.panel.chart {
                div.row { h2 { (lang.t("最近十分钟", "Last ten minutes")) }
                    ul.legend { li.available { (lang.t("剩余", "Left")) } li.held { (lang.t("待付款", "Held")) } li.sold { (lang.t("已付款", "Sold")) } } }
                svg #chart viewBox="0 0 600 180" preserveAspectRatio="none" role="img" aria-label=(lang.t("剩余、待付款和已付款数量随时间的变化", "Units left, held and sold over time")) {}
                p.muted #stream-state { (lang.t("实时数据需要 JavaScript；上面的数字是打开页面时的。", "Live data needs JavaScript; the numbers above are from when the page was opened.")) }
            }
            (gateways(lang, traffic))
        }
        div.two {
            section.panel { h2 { (lang.t("设置", "Settings")) } (facts(lang, sale)) }
            section.panel.stack { h2 { (lang.t("公开审计", "Public audit")) }
                @if is_public {
                    p { (lang.t("任何人都可以看到对账：", "Anybody can watch the audit at ")) a href={ "/audit/" (id) } { "/audit/" (id) } }
                } @else {
                    p.muted { (lang.t("对账页面目前不公开。", "The audit page is not public.")) }
                }
                @if may {
                    @let (label, on) = if is_public { (lang.t("停止公开", "Make it private"), "off") } else { (lang.t("公开对账页面", "Make it public"), "on") };
                    (button(visitor, &format!("/admin/sales/{id}/publish"), label, "button", &[("on", on)]))
                }
            }
        }
    }
}

/// When the sale starts or ends next, epoch milliseconds. The script loads the page again then, with the buttons of that time.
fn changes_at(activity: &Activity, now_ms: u64) -> Option<u64> {
    let rules = &activity.rules;
    [rules.starts_at_ms, rules.ends_at_ms].into_iter().find(|at_ms| *at_ms > now_ms)
}

/// What the gateways answer, for all sales. The script of the page keeps it up to date.
fn gateways(lang: Lang, traffic: &Traffic) -> Markup {
    html! {
        section.panel.stack #gateways { h2 { (lang.t("网关（所有活动）", "Gateways, all sales")) }
            div.tiles.small {
                (tile("answers", lang.t("每秒回答", "Answers per second"), &grouped(traffic.answers_per_second)))
                (tile("p50", lang.t("账本批次 p50", "Batch at the ledger, p50"), &at_most(traffic.p50_ms)))
                (tile("p99", lang.t("账本批次 p99", "Batch at the ledger, p99"), &at_most(traffic.p99_ms)))
                (tile("consumer-lag", lang.t("消费落后（记录）", "Consumer behind, records"), &traffic.consumer_lag.map_or_else(|| "–".to_owned(), grouped)))
            }
            div.two {
                div.scroll tabindex="0" { table #each-gateway {
                    thead { tr { th { (lang.t("网关", "Gateway")) } th.right { (lang.t("回答/秒", "Answers/s")) } th.right { (lang.t("抢到/秒", "Accepted/s")) } th.right { "p50" } th.right { "p99" } } }
                    tbody { @for one in &traffic.gateways { (gateway(one)) }
                        @if traffic.gateways.is_empty() { tr { td colspan="5" { (lang.t("没有网关在报告。", "No gateway reports.")) } } } }
                } }
                div.scroll tabindex="0" { table #answers {
                    thead { tr { th { (lang.t("回答", "Answer")) } th.right { (lang.t("每秒", "Per second")) } th.right { (lang.t("总数", "In all")) } } }
                    tbody { @for (code, answered) in &traffic.answers { tr { td { code { (code) } } td.right { (grouped(answered.per_second)) } td.right { (grouped(answered.count)) } } } }
                } }
            }
        }
    }
}

fn gateway(one: &GatewayFigures) -> Markup {
    let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), grouped);
    html! {
        tr { td { (one.host) " " span.muted { "#" (short(&one.process_id)) } }
            td.right { (number(one.answers_per_second)) } td.right { (number(one.accepted_per_second)) }
            td.right { (at_most(one.p50_ms)) } td.right { (at_most(one.p99_ms)) } }
    }
}

/// The last digits of a process id, which tell the processes of one host apart.
fn short(process_id: &str) -> &str {
    process_id.get(process_id.len().saturating_sub(SHORT_ID_DIGITS)..).unwrap_or(process_id)
}

fn at_most(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| format!("≤ {ms} ms"))
}

fn tile(id: &str, label: &str, value: &str) -> Markup {
    html! { div.tile { span.muted { (label) } strong id={ "tile-" (id) } { (value) } } }
}

fn facts(lang: Lang, sale: &Sale) -> Markup {
    let activity = &sale.activity;
    let door = match activity.admission.door {
        Door::Open => lang.t("直接抢购", "Nothing"),
        Door::Ticket => lang.t("入场券", "A ticket"),
        Door::Captcha => lang.t("验证码和入场券", "A captcha and a ticket"),
    };
    let answer = match activity.admission.answer_after {
        AnswerAfter::Script => lang.t("库存扣减后", "the stock was taken"),
        AnswerAfter::Log => lang.t("写入日志后", "it is on the log"),
    };
    html! {
        dl.facts {
            div { dt { (lang.t("秒杀价", "Sale price")) } dd { (yuan(activity.price.get())) " " s.muted { (yuan(activity.original_price.get())) } } }
            div { dt { (lang.t("数量", "Units")) } dd { (grouped(sale.stock)) } }
            div { dt { (lang.t("每人限购", "Units per user")) } dd { (activity.rules.per_user_limit) } }
            div { dt { (lang.t("入场条件", "Buyers must show")) } dd { (door) } }
            @if let Some(at_ms) = activity.admission.registered_before_ms { div { dt { (lang.t("注册时间早于", "Registered before")) } dd { (time(at_ms)) } } }
            @if let Some(ms) = sale.pay_within_ms { div { dt { (lang.t("付款时限", "Time to pay")) } dd { (span(lang, ms)) } } }
            div { dt { (lang.t("何时答复", "A yes is answered when")) } dd { (answer) } }
            div { dt { (lang.t("开始", "Starts")) } dd { (time(activity.rules.starts_at_ms)) } }
            div { dt { (lang.t("结束", "Ends")) } dd { (time(activity.rules.ends_at_ms)) } }
            div { dt { "SKU" } dd { code { (activity.sku) } } }
            div { dt { (lang.t("活动编号", "Sale id")) } dd { code { (activity.id) } } }
        }
    }
}

/// `total = available + held + sold`, with its light.
fn equation(lang: Lang, last: Option<&Tick>) -> Markup {
    let number = |of: fn(&Tick) -> u64| last.map_or_else(|| "–".to_owned(), |tick| grouped(of(tick)));
    let light = last.filter(|tick| tick.seq > 0).map(|tick| tick.light);
    let (class, text) = match light {
        Some(Light::Green) => ("green", lang.t("账目相符", "The books balance")),
        Some(Light::Amber) => ("amber", lang.t("正在核对", "Waiting for a side that is behind")),
        Some(Light::Red) => ("red", lang.t("账目不符", "The books do not balance")),
        None => ("off", lang.t("账本尚未打开", "The ledger is not open yet")),
    };
    html! {
        section.panel.equation aria-live="off" {
            p.light #light data-light=(class) role="status" { span.dot {} span #light-text { (text) } }
            div.terms {
                div { strong #total { (number(|tick| tick.total)) } span { (lang.t("总量", "Total")) } }
                span.sign { "=" }
                div.available { strong #available { (number(|tick| tick.available)) } span { (lang.t("剩余", "Left")) } }
                span.sign { "+" }
                div.held { strong #held { (number(|tick| tick.held)) } span { (lang.t("待付款", "Held")) } }
                span.sign { "+" }
                div.sold { strong #sold { (number(|tick| tick.sold)) } span { (lang.t("已付款", "Sold")) } }
            }
            p.muted { (lang.t("账期", "Term")) " " span #term { (number(|tick| tick.term)) } " · " (lang.t("序号", "seq")) " " span #seq { (number(|tick| tick.seq)) }
                " · " span #at { @if let Some(tick) = last { (time(tick.at)) } } }
            ul #checks { @if let Some(tick) = last.filter(|tick| tick.seq > 0) { @for check in &tick.checks {
                li class=(if check.ok { "ok" } else { "not-ok" }) { strong { (check.id) } " " (check.detail) }
            } } }
        }
    }
}

/// The audit of a sale for anybody, where staff have made it public.
pub(super) async fn public<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ActivityId>,
    headers: HeaderMap,
) -> Response {
    let lang = language_of(&headers);
    let read = async {
        if !api.store.sales().is_audit_public(id).await? {
            return Ok(None);
        }
        let Some(sale) = api.store.sales().sale(id).await? else { return Ok(None) };
        Ok::<_, Refusal>(Some((watch(&api, id).await?.pop(), sale)))
    };
    match read.await {
        Ok(Some((last, sale))) => {
            let title = &sale.activity.title;
            let body = html! {
                main.public #main {
                    h1 { (title) " " (state_badge(lang, &sale, api.clock.now_ms())) }
                    p.muted { (lang.t("每一件商品的去向，来自账本、日志和数据库的核对。页面每三秒更新。", "Where each unit is, by comparing ledger, log and database. The page is updated every three seconds.")) }
                    (equation(lang, last.as_deref()))
                }
            };
            frame::public(lang, StatusCode::OK, title, &body)
        }
        Ok(None) => {
            let title = lang.t("没有公开的对账", "No public audit");
            let body = html! { main.public #main { div.panel.empty { h1 { (title) } p { (lang.t("这个活动的对账没有公开，或者活动不存在。", "The audit of this sale is not public, or there is no such sale.")) } } } };
            frame::public(lang, StatusCode::NOT_FOUND, title, &body)
        }
        Err(refusal) => {
            log_failure(&refusal);
            let title = lang.t("暂时无法显示", "Not available now");
            let text = lang.t(
                "账本或数据库没有响应。页面每三秒重试。",
                "The ledger or the database does not answer. The page is loaded again every three seconds.",
            );
            let body = html! { main.public #main { div.panel.empty { h1 { (title) } p role="alert" { (text) } } } };
            frame::public(lang, status_of(&refusal), title, &body)
        }
    }
}
