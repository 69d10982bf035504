//! The form of a sale. What can't be is marked at its field, and nothing that was entered is lost.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::{
    ActivityId, Cents, SkuId,
    activity::{AnswerAfter, Door},
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::html;
use serde::Deserialize;
use store::{Page, Sale, Sku};
use web::Path;

use super::{
    form::{Errors, Fields, Posted, Shown, hidden, submit, submit_then},
    frame::{failed, heading, missing, page},
    products::attributes_of,
    sale_rules,
    session::Visitor,
    text::{ZONE, cents, from_local, local, plain_yuan, yuan},
};
use crate::actions::{
    Api, Refusal, Role,
    sales::{self as actions, SaleChanges, SaleFields},
};

const HOUR_MS: u64 = 3_600_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewQuery {
    sku: String,
    /// A sale whose fields the form begins with.
    like: String,
}

/// Whether the form makes a sale or changes one.
#[derive(Clone, Copy)]
enum Target<'a> {
    New,
    Existing(&'a Sale),
}

pub(super) async fn new<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<NewQuery>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    let starts_at_ms = (api.clock.now_ms() / HOUR_MS + 1) * HOUR_MS;
    let like = match query.like.parse::<ActivityId>() {
        Ok(id) => match api.store.sales().sale(id).await {
            Ok(sale) => sale,
            Err(error) => return failed(visitor.lang, &error.into()),
        },
        Err(_) => None,
    };
    let fields = match &like {
        Some(sale) => {
            let rules = sale.activity.rules;
            fields_of(sale, (starts_at_ms, starts_at_ms + rules.ends_at_ms.saturating_sub(rules.starts_at_ms)))
        }
        None => Fields::of([
            ("sku_id", query.sku),
            ("per_user_limit", "1".to_owned()),
            ("starts_at", local(starts_at_ms)),
            ("ends_at", local(starts_at_ms + HOUR_MS)),
            ("door", "open".to_owned()),
            ("answer_after", api.answer_after.as_str().to_owned()),
        ]),
    };
    show(&api, &visitor, Target::New, (&fields, &Errors::default()), StatusCode::OK).await
}

fn fields_of(sale: &Sale, (starts_at_ms, ends_at_ms): (u64, u64)) -> Fields {
    let activity = &sale.activity;
    let door = match activity.admission.door {
        Door::Open => "open",
        Door::Ticket => "ticket",
        Door::Captcha => "captcha",
    };
    Fields::of([
        ("title", activity.title.clone()),
        ("sku_id", activity.sku.to_string()),
        ("price_cents", plain_yuan(activity.price.get())),
        ("stock", sale.stock.to_string()),
        ("per_user_limit", activity.rules.per_user_limit.to_string()),
        ("starts_at", local(starts_at_ms)),
        ("ends_at", local(ends_at_ms)),
        ("door", door.to_owned()),
        ("answer_after", activity.admission.answer_after.as_str().to_owned()),
        ("invited_only", if activity.admission.invited_only { "on" } else { "" }.to_owned()),
        ("version", activity.version.to_string()),
    ])
    .with(sale_rules::values(sale))
}

/// The SKUs that a sale may be of, with what a person tells them by.
async fn sku_choices<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    lang: super::text::Lang,
) -> Result<Vec<(String, String)>, Refusal> {
    let skus = api.store.catalogue().skus(None, Page { before: i64::MAX, limit: store::PAGE_MAX }).await?.items;
    let mut choices = vec![(String::new(), lang.t("请选择", "Choose").to_owned())];
    for sku in skus {
        let title =
            api.store.catalogue().product(sku.product_id).await?.map(|product| product.title).unwrap_or_default();
        let stock = lang.t("库存", "stock");
        let label =
            format!("{title} ({}) · {} · {stock} {}", attributes_of(&sku), yuan(sku.price_cents.get()), sku.stock);
        choices.push((sku.sku_id.to_string(), label));
    }
    Ok(choices)
}

async fn show<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    target: Target<'_>,
    (fields, errors): (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let skus = match sku_choices(api, lang).await {
        Ok(skus) => skus,
        Err(refusal) => return failed(lang, &refusal),
    };
    let (title, action) = match target {
        Target::New => (lang.t("新建活动", "New sale"), "/admin/sales".to_owned()),
        Target::Existing(sale) => {
            (lang.t("修改活动", "Change the sale"), format!("/admin/sales/{}/edit", sale.activity.id))
        }
    };
    let doors = [
        ("open", lang.t("直接抢购", "Nothing")),
        ("ticket", lang.t("需要入场券", "A ticket")),
        ("captcha", lang.t("需要验证码和入场券", "A captcha, then a ticket")),
    ];
    let doors = doors.map(|(value, label)| (value.to_owned(), label.to_owned()));
    let answers = [
        (AnswerAfter::Script, lang.t("库存扣减后立即答复（快）", "When the stock was taken (fast)")),
        (AnswerAfter::Log, lang.t("写入日志后答复（最安全）", "When it is on the log (safest)")),
    ];
    let answers = answers.map(|(value, label)| (value.as_str().to_owned(), label.to_owned()));
    let errors = &match target {
        Target::New => errors.clone(),
        Target::Existing(sale) => {
            let rules = sale.activity.rules;
            errors.against(fields_of(sale, (rules.starts_at_ms, rules.ends_at_ms)))
        }
    };
    let may_be_draft = matches!(target, Target::New | Target::Existing(Sale { is_draft: true, .. }));
    let zone = format!("{} {ZONE}", lang.t("时区", "Time zone"));
    let shown = Shown { fields, errors };
    let body = html! {
        (heading(title, &html! {}))
        form.panel.stack.narrow method="post" action=(action) {
            (errors.summary(lang)) (hidden(visitor))
            @if let Target::Existing(sale) = &target {
                input type="hidden" name="version" value=(sale.activity.version);
                input type="hidden" name="sku_id" value=(fields.get("sku_id"));
            }
            (shown.input("title", lang.t("标题", "Title"), "text", ""))
            @if matches!(target, Target::New) { (shown.select("sku_id", lang.t("商品规格", "SKU"), &skus, "")) }
            div.pair {
                (shown.input("price_cents", lang.t("秒杀价（元）", "Sale price in yuan"), "text", lang.t("不高于商城价。", "Not above the shop's price.")))
                (shown.input("stock", lang.t("数量", "Units"), "number", lang.t("从规格库存中划出。", "Taken out of the SKU's stock.")))
            }
            (shown.input("per_user_limit", lang.t("每人限购", "Units per user"), "number", ""))
            div.pair {
                (shown.input("starts_at", lang.t("开始时间", "Starts"), "datetime-local", &zone))
                (shown.input("ends_at", lang.t("结束时间", "Ends"), "datetime-local", &zone))
            }
            (shown.select("door", lang.t("入场条件", "What buyers must show"), &doors, ""))
            (shown.select("answer_after", lang.t("何时答复抢到", "When a buyer gets the confirmation"), &answers, ""))
            (shown.check("invited_only", lang.t("仅限名单内用户", "Only for users on the list")))
            (sale_rules::inputs(lang, shown, may_be_draft))
            div.row.wrap {
                button.primary type="submit" { @if matches!(target, Target::New) { (lang.t("创建活动", "Create the sale")) } @else { (lang.t("保存", "Save")) } }
                a.button href="/admin/sales" { (lang.t("取消", "Cancel")) }
            }
        }
    };
    page(visitor, status, title, &body)
}

/// The sale in the form, or what is wrong with it.
async fn read<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    fields: &Fields,
    target: Target<'_>,
) -> Result<Result<SaleFields, Errors>, Refusal> {
    let (lang, mut errors) = (visitor.lang, Errors::default());
    let sku = match fields.get("sku_id").parse::<SkuId>() {
        Ok(sku) => api.store.catalogue().sku(sku).await?,
        Err(_) => None,
    };
    let title = Some(fields.get("title").trim().to_owned()).filter(|title| !title.is_empty());
    let title = errors.need("title", title, lang.t("请填写标题。", "Enter a title."));
    let sku = errors.need("sku_id", sku, lang.t("请选择规格。", "Choose a SKU."));
    let amount = lang.t("请填写金额，例如 9.90。", "Enter an amount such as 9.90.");
    let price = errors.need("price_cents", cents(fields.get("price_cents")), amount);
    let whole = lang.t("请填写 1 或更大的整数。", "Enter a whole number from 1 on.");
    let stock = fields.get("stock").parse().ok().filter(|units: &u64| *units > 0);
    let stock = errors.need("stock", stock, whole);
    let limit = fields.get("per_user_limit").parse().ok().filter(|units: &u32| *units > 0);
    let limit = errors.need("per_user_limit", limit, whole);
    let date = lang.t("请填写日期和时间。", "Enter date and time.");
    let starts_at_ms = errors.need("starts_at", from_local(fields.get("starts_at")), date);
    let ends_at_ms = errors.need("ends_at", from_local(fields.get("ends_at")), date);
    if let (Some(starts), Some(ends)) = (starts_at_ms, ends_at_ms)
        && ends <= starts
    {
        errors.add("ends_at", lang.t("结束必须晚于开始。", "The end must be after the start."));
    }
    let optional = sale_rules::read(lang, fields, &mut errors);
    if ends_at_ms.is_some_and(|ends| ends <= api.clock.now_ms()) {
        errors.add("ends_at", lang.t("结束时间已经过去。", "The end has passed already."));
    }
    let (Some(title), Some(sku), Some(price), Some(stock), Some(per_user_limit), Some(starts_at_ms), Some(ends_at_ms)) =
        (title, sku, price, stock, limit, starts_at_ms, ends_at_ms)
    else {
        return Ok(Err(errors));
    };
    check_against_shop(
        api,
        lang,
        (&sku, target),
        &mut errors,
        (price, stock, per_user_limit, starts_at_ms, ends_at_ms),
    )
    .await?;
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    let door = fields.get("door");
    Ok(Ok(SaleFields {
        title,
        sku: sku.sku_id,
        price: Cents::new(price),
        stock,
        per_user_limit,
        starts_at_ms,
        ends_at_ms,
        requires_ticket: Some(door != "open"),
        captcha: Some(door == "captcha"),
        invited_only: fields.is_on("invited_only"),
        registered_before_ms: optional.registered_before_ms,
        is_draft: optional.is_draft,
        pay_within_ms: optional.pay_within_ms,
        answer_after: AnswerAfter::from_word(fields.get("answer_after")),
    }))
}

/// What depends on the SKU and on other sales.
async fn check_against_shop<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    lang: super::text::Lang,
    (sku, target): (&Sku, Target<'_>),
    errors: &mut Errors,
    (price, stock, limit, starts_at_ms, ends_at_ms): (i64, u64, u32, u64, u64),
) -> Result<(), Refusal> {
    if price > sku.price_cents.get() {
        let shop = yuan(sku.price_cents.get());
        errors.add("price_cents", format!("{} {shop}", lang.t("高于商城价", "Above the shop's price of")));
    }
    let carved = if let Target::Existing(sale) = target { sale.stock } else { 0 };
    if stock > sku.stock + carved {
        errors.add("stock", format!("{} {}", lang.t("规格库存只有", "The SKU has only"), sku.stock + carved));
    }
    if u64::from(limit) > stock {
        errors.add("per_user_limit", lang.t("不能超过活动数量。", "It can't be above the units of the sale."));
    }
    let own = if let Target::Existing(sale) = target { Some(sale.activity.id) } else { None };
    let other = api.store.sales().overlapping_sale(sku.sku_id, (starts_at_ms, ends_at_ms)).await?;
    if let Some(other) = other.filter(|other| Some(*other) != own) {
        let text = lang.t("同一规格在这段时间已有活动", "The SKU is in another sale at that time:");
        errors.add("starts_at", format!("{text} {other}"));
    }
    Ok(())
}

pub(super) async fn create<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let asked = match read(&api, &visitor, &fields, Target::New).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(errors)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return show(&api, &visitor, Target::New, (&fields, &errors), status).await;
        }
        Err(refusal) => return failed(visitor.lang, &refusal),
    };
    let creating = actions::create(&api, &visitor.staff, asked);
    let to = |sale: Sale| format!("/admin/sales/{}", sale.activity.id);
    submit_then(&visitor, creating, to, async |errors, status| {
        show(&api, &visitor, Target::New, (&fields, &errors), status).await
    })
    .await
}

pub(super) async fn edit<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<ActivityId>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    match api.store.sales().sale(id).await {
        Ok(Some(sale)) => {
            let fields = fields_of(&sale, (sale.activity.rules.starts_at_ms, sale.activity.rules.ends_at_ms));
            show(&api, &visitor, Target::Existing(&sale), (&fields, &Errors::default()), StatusCode::OK).await
        }
        Ok(None) => missing(&visitor),
        Err(error) => failed(visitor.lang, &error.into()),
    }
}

pub(super) async fn patch<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ActivityId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let sale = match api.store.sales().sale(id).await {
        Ok(Some(sale)) => sale,
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let target = Target::Existing(&sale);
    let asked = match read(&api, &visitor, &fields, target).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(errors)) => {
            return show(&api, &visitor, target, (&fields, &errors), StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        Err(refusal) => return failed(visitor.lang, &refusal),
    };
    let changes = SaleChanges {
        title: Some(asked.title),
        price: Some(asked.price),
        stock: Some(asked.stock),
        per_user_limit: Some(asked.per_user_limit),
        starts_at_ms: Some(asked.starts_at_ms),
        ends_at_ms: Some(asked.ends_at_ms),
        requires_ticket: asked.requires_ticket,
        captcha: asked.captcha,
        invited_only: Some(asked.invited_only),
        registered_before_ms: Some(asked.registered_before_ms),
        is_draft: sale.is_draft.then_some(asked.is_draft),
        pay_within_ms: Some(asked.pay_within_ms),
        answer_after: asked.answer_after,
    };
    let version = fields.get("version").parse().unwrap_or(0);
    let patching = actions::patch(&api, &visitor.staff, (id, version), changes);
    submit(&visitor, patching, &format!("/admin/sales/{id}"), async |errors, status| {
        show(&api, &visitor, target, (&fields, &errors), status).await
    })
    .await
}
