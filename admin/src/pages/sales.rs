//! The list of sales, and what can be done to one: each action has a page that says what will happen.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::{ActivityId, stock::Counters};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use serde::Deserialize;
use store::{Sale, SalePhase};
use web::Path;

use super::{
    catalogue::page_at,
    form::{Errors, Fields, Posted, Shown, hidden, key, submit},
    frame::{failed, heading, missing, note, page, pager},
    list::{self, Column},
    session::Visitor,
    text::{Lang, grouped, time, yuan},
};
use crate::actions::{Api, Refusal, Role, sales as actions};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    state: String,
    cursor: String,
}

/// Where a sale is in its life, for people.
pub(super) fn state_badge(lang: Lang, sale: &Sale, now_ms: u64) -> Markup {
    let rules = sale.activity.rules;
    let (class, text) = if sale.is_draft {
        ("", lang.t("草稿", "Draft"))
    } else if rules.ends_at_ms <= now_ms {
        ("", lang.t("已结束", "Ended"))
    } else if sale.activity.admission.paused {
        ("warn", lang.t("已暂停", "Paused"))
    } else if rules.starts_at_ms <= now_ms {
        ("good", lang.t("进行中", "Open"))
    } else if sale.opening {
        ("info", lang.t("已预热", "Warmed"))
    } else {
        ("info", lang.t("未开始", "Scheduled"))
    };
    html! { span class={ "badge " (class) } { (text) } }
}

pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let (lang, now_ms) = (visitor.lang, api.clock.now_ms());
    let phase = match query.state.as_str() {
        "scheduled" => Some(SalePhase::Scheduled),
        "running" => Some(SalePhase::Running),
        "ended" => Some(SalePhase::Ended),
        _ => None,
    };
    let listed = match api.store.sales().find_sales(phase, now_ms, page_at(&query.cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let states = [
        ("", lang.t("全部", "All")),
        ("scheduled", lang.t("未开始", "Scheduled")),
        ("running", lang.t("进行中", "Running")),
        ("ended", lang.t("已结束", "Ended")),
    ];
    let title = lang.t("秒杀活动", "Sales");
    let filter = if phase.is_some() { format!("state={}", query.state) } else { String::new() };
    let columns = [
        Column::Text(lang.t("活动", "Sale")),
        Column::Text(lang.t("状态", "State")),
        Column::Number(lang.t("价格", "Price")),
        Column::Number(lang.t("数量", "Units")),
        Column::Text(lang.t("开始", "Starts")),
        Column::Text(lang.t("结束", "Ends")),
    ];
    let row = |sale: &Sale| {
        let activity = &sale.activity;
        html! {
            td { a href={ "/admin/sales/" (activity.id) } { (activity.title) } }
            td { (state_badge(lang, sale, now_ms)) }
            td.right { (yuan(activity.price.get())) } td.right { (grouped(sale.stock)) }
            td { (time(activity.rules.starts_at_ms)) } td { (time(activity.rules.ends_at_ms)) }
        }
    };
    let body = html! {
        (heading(title, &html! { @if visitor.may(Role::Operator) { a.button.primary href="/admin/sales/new" { (lang.t("新建活动", "New sale")) } } }))
        nav.chips aria-label=(lang.t("状态", "State")) {
            @for (value, label) in states { a.chip href={ "/admin/sales?state=" (value) } aria-current=[(query.state == value).then_some("true")] { (label) } }
        }
        (list::table(&columns, &listed, lang.t("没有活动。", "There is no sale."), row))
        (pager(&visitor, ("/admin/sales", &filter), listed.next))
    };
    page(&visitor, StatusCode::OK, title, &body)
}

/// What can be done to a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Publish,
    Warm,
    Pause,
    Resume,
    End,
    Restock,
}

impl Verb {
    const ALL: [Self; 6] = [Self::Publish, Self::Warm, Self::Pause, Self::Resume, Self::End, Self::Restock];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Warm => "warm",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::End => "end",
            Self::Restock => "restock",
        }
    }

    pub(super) const fn label(self, lang: Lang) -> &'static str {
        match self {
            Self::Publish => lang.t("发布", "Publish"),
            Self::Warm => lang.t("预热", "Warm"),
            Self::Pause => lang.t("暂停", "Pause"),
            Self::Resume => lang.t("继续", "Resume"),
            Self::End => lang.t("结束", "End"),
            Self::Restock => lang.t("补货", "Restock"),
        }
    }

    /// Those that make sense for a sale as it is.
    pub(super) fn of(sale: &Sale, now_ms: u64) -> Vec<Self> {
        let rules = sale.activity.rules;
        if rules.ends_at_ms <= now_ms {
            return Vec::new();
        }
        if sale.is_draft {
            return vec![Self::Publish];
        }
        let toggle = if sale.activity.admission.paused { Self::Resume } else { Self::Pause };
        let ledger = if sale.opening { Self::Restock } else { Self::Warm };
        vec![ledger, toggle, Self::End]
    }

    const fn consequence(self, lang: Lang) -> &'static str {
        match self {
            Self::Publish => lang.t(
                "活动对所有人可见，到开始时间开始售卖。不能再改回草稿。",
                "Everybody sees the sale, and it begins at its start time. It does not become a draft again.",
            ),
            Self::Warm => lang.t(
                "现在打开账本。此后库存归账本管理，价格、数量和时间不能再改。到开始时间才会售卖。",
                "The ledger is opened now. From then on it owns the units, and price, units and times can't be changed. Selling begins at the start time.",
            ),
            Self::Pause => lang.t(
                "所有网关立即停止接受新的抢购请求。已抢到的订单照常可以付款。随时可以继续。",
                "All gateways stop accepting requests at once. Orders that were won can still be paid. It can be resumed at any time.",
            ),
            Self::Resume => lang.t("所有网关重新接受抢购请求。", "All gateways accept requests again."),
            Self::End => lang.t(
                "活动立即结束，不能恢复。已抢到的订单照常可以付款，剩余库存退回商品。",
                "The sale ends now, for good. Orders that were won can still be paid, and the units that are left go back to the SKU.",
            ),
            Self::Restock => lang.t(
                "把商品的库存移入活动（正数），或从活动移回商品（负数）。售罄的活动会重新开卖。",
                "Units move from the SKU into the sale (above 0), or back (below 0). A sale that is sold out sells again.",
            ),
        }
    }
}

pub(super) async fn confirm<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path((id, verb)): Path<(ActivityId, String)>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    let Some(verb) = Verb::ALL.into_iter().find(|known| known.word() == verb) else { return missing(&visitor) };
    let fields = Fields::of([("key", key())]);
    question(&api, &visitor, (id, verb), (&fields, &Errors::default()), StatusCode::OK).await
}

/// What the ledger counts; `None` also while it does not answer. A sale can be paused and ended meanwhile.
pub(super) async fn counters<K: LedgerClient, C: Clock>(api: &Api<K, C>, id: ActivityId) -> Option<Counters> {
    api.ledgers.counters(id).await.unwrap_or_else(|error| {
        tracing::warn!(activity = %id, %error, "a page is shown without the ledger's counters");
        None
    })
}

async fn question<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    (id, verb): (ActivityId, Verb),
    (fields, errors): (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let read = async {
        let Some(sale) = api.store.sales().sale(id).await? else { return Ok(None) };
        let sku = api.store.catalogue().sku(sale.activity.sku).await?.map_or(0, |sku| sku.stock);
        Ok::<_, Refusal>(Some((sku, counters(api, id).await, sale)))
    };
    let (in_sku, counters, sale) = match read.await {
        Ok(Some(read)) => read,
        Ok(None) => return missing(visitor),
        Err(refusal) => return failed(lang, &refusal),
    };
    let shown = Shown { fields, errors };
    let title = format!("{} · {}", verb.label(lang), sale.activity.title);
    let body = html! {
        form.panel.stack.narrow method="post" action={ "/admin/sales/" (id) "/do/" (verb.word()) } {
            h1 { (verb.label(lang)) ": " (sale.activity.title) }
            p.consequence { (verb.consequence(lang)) }
            @if let Some(counters) = counters {
                dl.facts {
                    div { dt { (lang.t("活动剩余", "Left in the sale")) } dd { (grouped(counters.available)) } }
                    div { dt { (lang.t("待付款", "Held")) } dd { (grouped(counters.held)) } }
                    div { dt { (lang.t("已付款", "Sold")) } dd { (grouped(counters.sold)) } }
                    div { dt { (lang.t("商品库存", "Stock of the SKU")) } dd { (grouped(in_sku)) } }
                }
            }
            (errors.summary(lang)) (hidden(visitor))
            input type="hidden" name="key" value=(fields.get("key"));
            @if verb == Verb::Restock { (shown.input("delta", lang.t("增减数量", "Units"), "number", lang.t("例如 100 或 -20", "For example 100 or -20"))) }
            div.row.wrap {
                button type="submit" class=(if verb == Verb::End { "danger" } else { "primary" }) { (verb.label(lang)) }
                a.button href={ "/admin/sales/" (id) } { (lang.t("取消", "Cancel")) }
            }
        }
    };
    page(visitor, status, &title, &body)
}

pub(super) async fn carry_out<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path((id, verb)): Path<(ActivityId, String)>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let Some(verb) = Verb::ALL.into_iter().find(|known| known.word() == verb) else { return missing(&visitor) };
    let staff = &visitor.staff;
    let action = async {
        match verb {
            Verb::Publish => publish_draft(&api, &visitor, id).await,
            Verb::Warm => actions::warm(&api, staff, id).await.map(drop),
            Verb::Pause => actions::pause(&api, staff, id, true).await.map(drop),
            Verb::Resume => actions::pause(&api, staff, id, false).await.map(drop),
            Verb::End => actions::end(&api, staff, id).await.map(drop),
            Verb::Restock => restock(&api, &visitor, id, &fields).await,
        }
    };
    submit(&visitor, action, &format!("/admin/sales/{id}"), async |errors: Errors, status| {
        let errors = errors.renamed("stock", "delta");
        question(&api, &visitor, (id, verb), (&fields, &errors), status).await
    })
    .await
}

/// Publishes a draft. One that is published already stays as it is.
async fn publish_draft<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: ActivityId,
) -> Result<(), Refusal> {
    let sale = api.store.sales().sale(id).await?.ok_or(Refusal::Unknown("sale"))?;
    if !sale.is_draft {
        return Ok(());
    }
    let published = actions::SaleChanges { is_draft: Some(false), ..actions::SaleChanges::default() };
    actions::patch(api, &visitor.staff, (id, sale.activity.version), published).await.map(drop)
}

async fn restock<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: ActivityId,
    fields: &Fields,
) -> Result<(), Refusal> {
    let text = visitor.lang.t("请填写不为 0 的整数。", "Enter a whole number that is not 0.");
    let delta = fields.get("delta").trim().parse().map_err(|_| Refusal::invalid("delta", text))?;
    // The same form sent twice is one operation.
    let operation = actions::operation_of(api, &visitor.staff, (id, delta), Some(fields.get("key")))?;
    actions::restock(api, &visitor.staff, id, (operation, delta)).await.map(drop)
}

pub(super) async fn publish<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ActivityId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let publishing = async {
        let is_known = api.store_of(&visitor.staff).sales().publish_audit(id, fields.is_on("on")).await?;
        is_known.then_some(()).ok_or(Refusal::Unknown("sale"))
    };
    submit(&visitor, publishing, &format!("/admin/sales/{id}"), async |errors, status| note(&visitor, &errors, status))
        .await
}
