//! Money that fits nothing in the shop, and the platform's bill of a day.

use axum::{
    extract::{Multipart, Query, State},
    http::StatusCode,
    response::Response,
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use serde::Deserialize;
use store::{Compared, RESOLUTION_CHARS_MAX, Unmatched};
use web::Path;

use super::{
    catalogue::page_at,
    form::{Errors, Fields, Posted, Shown, Upload, hidden, submit},
    frame::{failed, heading, page, refused, status_of},
    list::{self, Filters},
    session::Visitor,
    text::{Lang, grouped, time, yuan},
};
use crate::actions::{
    Api, Refusal, Role,
    fields::line,
    money::{BILL_BYTES_MAX, compare_bill, day_of_bill},
};

const PATH: &str = "/admin/money";
/// Payment methods whose platform has bills.
const METHODS: [&str; 2] = ["alipay", "mock"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MoneyQuery {
    resolved: String,
    cursor: String,
}

/// What came of the bill that was sent, if one was.
enum Bill<'a> {
    None,
    Compared(&'a Compared),
    Refused(&'a Fields, &'a Errors),
}

pub(super) async fn show<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<MoneyQuery>,
) -> Response {
    render(&api, &visitor, query, (&Errors::default(), &Bill::None), StatusCode::OK).await
}

async fn render<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    query: MoneyQuery,
    (errors, bill): (&Errors, &Bill<'_>),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let resolved = match query.resolved.as_str() {
        "yes" => Some(true),
        "all" => None,
        _ => Some(false),
    };
    let listed = match api.store.unmatched(resolved, page_at(&query.cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let filters = Filters::new(visitor, PATH, [("resolved", query.resolved)]);
    let states = list::choices([
        ("", lang.t("待处理", "Open")),
        ("yes", lang.t("已处理", "Resolved")),
        ("all", lang.t("全部", "All")),
    ]);
    let title = lang.t("资金", "Money");
    let body = html! {
        (heading(title, &html! {}))
        (errors.summary(lang))
        div.two.wide-left {
            section.stack { h2 { (lang.t("无法对应的资金", "Unmatched money")) }
                p.muted { (lang.t("支付平台上有、但与商城的任何付款或退款都不符的资金。", "Money at the payment platform that fits no payment and no refund of the shop.")) }
                (filters.form(|shown, lang| shown.select("resolved", lang.t("状态", "State"), &states, "")))
                @if listed.items.is_empty() { p.panel { (lang.t("没有符合条件的资金。", "No money matches.")) } }
                @for row in &listed.items { (card(visitor, row)) }
                (filters.pager(listed.next))
            }
            @if visitor.may(Role::Admin) { (bill_form(visitor, bill)) }
        }
    };
    page(visitor, status, title, &body)
}

fn card(visitor: &Visitor, row: &Unmatched) -> Markup {
    let lang = visitor.lang;
    html! {
        article.panel.stack {
            div.row { strong { (yuan(row.amount.get())) }
                @if row.resolution.is_some() { span.badge.good { (lang.t("已处理", "Resolved")) } } @else { span.badge.bad { (lang.t("待处理", "Open")) } } }
            p { (reason(lang, &row.reason)) }
            p.muted { (row.method) " · " (lang.t("交易号", "trade")) " " code { (row.trade_no) }
                @if let Some(subject) = row.subject_id { " · " (lang.t("单号", "named as")) " " code { (subject) } }
                " · " (time(row.seen_at_ms)) }
            @if let Some(resolution) = &row.resolution {
                p { (lang.t("去向：", "Where it belongs: ")) (resolution) @if let Some(at_ms) = row.resolved_at_ms { " " span.muted { (time(at_ms)) } } }
            } @else if visitor.may(Role::Admin) {
                form.inline.reason method="post" action={ (PATH) "/" (row.id) "/resolve" } { (hidden(visitor))
                    @let label = lang.t("这笔钱的去向", "Where the money belongs");
                    input name="resolution" maxlength=(RESOLUTION_CHARS_MAX) placeholder=(label) aria-label=(label) required;
                    button type="submit" { (lang.t("标记为已处理", "Mark as resolved")) } }
            }
        }
    }
}

/// Why money fits nothing. An unknown word is shown as it is.
fn reason(lang: Lang, reason: &str) -> &str {
    match reason {
        "unknown_payment" => lang.t("商城没有这笔付款。", "The shop has no such payment."),
        "wrong_amount" => lang.t("金额与付款不符。", "The amount is not that of the payment."),
        "other_trade" => lang.t("这笔付款已由另一笔交易支付。", "The payment was paid by another trade."),
        "unknown_refund" => lang.t("商城没有这笔退款。", "The shop has no such refund."),
        "other_refund" => {
            lang.t("退款的金额或状态与商城不符。", "The refund has another amount or was not sent by the shop.")
        }
        "not_in_bill" => lang.t("商城已收款，但账单里没有。", "The shop has the payment, and the bill does not."),
        other => other,
    }
}

fn bill_form(visitor: &Visitor, bill: &Bill<'_>) -> Markup {
    let lang = visitor.lang;
    let (fields, errors) = (Fields::default(), Errors::default());
    let shown = match bill {
        Bill::Refused(fields, errors) => Shown { fields, errors },
        Bill::None | Bill::Compared(_) => Shown { fields: &fields, errors: &errors },
    };
    let methods: Vec<_> = METHODS.iter().map(|method| ((*method).to_owned(), (*method).to_owned())).collect();
    html! {
        form.panel.stack method="post" enctype="multipart/form-data" action={ (PATH) "/bill" } {
            h2 { (lang.t("核对账单", "Compare a bill")) }
            p.muted { (lang.t("上传支付平台某一天的交易账单。重复上传不会重复入账。", "Upload the platform's bill of trades for one day. The same bill may be sent again.")) }
            (hidden(visitor)) (shown.errors.summary(lang))
            @if let Bill::Compared(compared) = bill { (outcome(lang, compared)) }
            (shown.select("method", lang.t("支付方式", "Payment method"), &methods, ""))
            (shown.input("date", lang.t("账单日期（中国时间）", "Day of the bill, in China"), "date", ""))
            div.field { label for="file" { (lang.t("文件", "File")) }
                input #file type="file" name="file" accept=".csv,text/csv" required;
                (shown.group_error("file"))
                p.hint { (lang.t("CSV 文件，保持平台的原始编码，最大 32 MiB。", "The platform's CSV file as it is, 32 MiB at most.")) } }
            button.primary type="submit" { (lang.t("核对", "Compare")) }
        }
    }
}

fn outcome(lang: Lang, Compared { fitting, waiting, unmatched }: &Compared) -> Markup {
    html! {
        dl.facts role="status" {
            div { dt { (lang.t("相符", "Rows that fit")) } dd #bill-fitting { (grouped(*fitting)) } }
            div { dt { (lang.t("通知丢失，正在查询", "Notices lost, being asked about")) } dd #bill-waiting { (grouped(*waiting)) } }
            div { dt { (lang.t("无法对应", "Unmatched")) } dd #bill-unmatched { (grouped(*unmatched)) } }
        }
    }
}

pub(super) async fn resolve<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<i64>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let resolution = fields.get("resolution").trim();
    let resolving = async {
        let why = |_| Refusal::invalid("", visitor.lang.t("请写明去向。", "Say where the money belongs."));
        line(resolution, RESOLUTION_CHARS_MAX, "resolution").map_err(why)?;
        let resolved = api.store_of(&visitor.staff).resolve_unmatched(id, resolution, api.clock.now_ms()).await?;
        resolved.ok_or(Refusal::Unknown("unmatched money"))
    };
    submit(&visitor, resolving, PATH, async |errors, status| {
        render(&api, &visitor, MoneyQuery::default(), (&errors, &Bill::None), status).await
    })
    .await
}

pub(super) async fn bill<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    form: Multipart,
) -> Response {
    if !visitor.may(Role::Admin) {
        return refused(&visitor);
    }
    let upload = match Upload::read(form, 1, BILL_BYTES_MAX).await {
        Ok(upload) => upload,
        Err(refusal) => return failed(visitor.lang, &refusal),
    };
    if upload.fields.get("csrf") != visitor.csrf {
        return refused(&visitor);
    }
    let none = Errors::default();
    match compare(&api, &visitor, &upload).await {
        Ok(compared) => {
            render(&api, &visitor, MoneyQuery::default(), (&none, &Bill::Compared(&compared)), StatusCode::OK).await
        }
        Err(refusal) => {
            let errors = Errors::of(visitor.lang, &refusal);
            let bill = Bill::Refused(&upload.fields, &errors);
            render(&api, &visitor, MoneyQuery::default(), (&none, &bill), status_of(&refusal)).await
        }
    }
}

async fn compare<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    Upload { fields, files }: &Upload,
) -> Result<Compared, Refusal> {
    let lang = visitor.lang;
    let method = METHODS.into_iter().find(|method| *method == fields.get("method"));
    let method = method.ok_or_else(|| Refusal::invalid("method", lang.t("请选择。", "Choose one.")))?;
    let day = day_of_bill(fields.get("date"));
    let from_ms = day.ok_or_else(|| Refusal::invalid("date", lang.t("请填写日期。", "Enter a day.")))?;
    let file = files.first().ok_or_else(|| Refusal::invalid("file", lang.t("请选择文件。", "Choose a file.")))?;
    if file.is_cut {
        return Err(Refusal::invalid("file", lang.t("文件超过 32 MiB。", "The file is longer than 32 MiB.")));
    }
    compare_bill(api, &visitor.staff, (method, from_ms), &file.bytes).await
}
