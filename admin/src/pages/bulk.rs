//! Price and shelf state of several products at once: a selection in the list, a page that shows each change, and then the
//! changes, each on its own.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use contract::{Cents, ProductId, SkuId};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{PAGE_MAX, Page, Product, Sku, SkuPatch};

use super::{
    form::{Fields, Posted, Shown, hidden, reason},
    frame::{failed, heading, page},
    products::attributes_of,
    session::Visitor,
    text::{Lang, cents, yuan},
};
use crate::actions::{Api, Refusal, Role, catalogue as actions, fields::priced};

/// Changes of one form. Each is a transaction, and all fit into the time of a request.
const CHANGES_MAX: usize = 200;
/// By how many percent prices can fall and rise.
const PERCENT: std::ops::RangeInclusive<i64> = -90..=500;

/// What is done to a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Shelf(bool),
    Price(Cents),
    Percent(i64),
}

/// One change: what it is of, in words, what is there and what will be, and its hidden field.
struct Change {
    subject: String,
    before: String,
    after: String,
    field: String,
}

/// The form below a list of products, for those that are selected in it.
pub(super) fn panel(visitor: &Visitor) -> Markup {
    let lang = visitor.lang;
    let choices = super::list::choices([
        ("shelve", lang.t("上架", "Put on the shelf")),
        ("unshelve", lang.t("下架", "Take off the shelf")),
        ("price", lang.t("价格设为（元）", "Set the price to, in yuan")),
        ("percent", lang.t("价格增减（%）", "Raise or lower prices by, in %")),
    ]);
    let (fields, errors) = (Fields::default(), super::form::Errors::default());
    let shown = Shown { fields: &fields, errors: &errors };
    html! {
        @if visitor.may(Role::Operator) {
            form.panel.filters #bulk method="post" action="/admin/products/bulk" {
                (hidden(visitor))
                (shown.select("work", lang.t("对选中的商品", "With the selected products"), &choices, ""))
                (shown.input("amount", lang.t("金额或百分比", "Amount or percentage"), "text", ""))
                button type="submit" { (lang.t("预览改动", "Preview the changes")) }
            }
        }
    }
}

/// The box that selects a product of the list.
pub(super) fn check_box(product: &Product) -> Markup {
    html! { input type="checkbox" form="bulk" name="product" value=(product.product_id) aria-label=(product.title); }
}

pub(super) async fn take<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let is_confirmed = fields.is_on("confirmed") && !visitor.is_resuming;
    if is_confirmed {
        return carry_out(&api, &visitor, &fields).await;
    }
    let changes = match work(visitor.lang, &fields) {
        Ok(work) => preview(&api, visitor.lang, &fields, work).await,
        Err(refusal) => Err(refusal),
    };
    match changes {
        Ok(changes) => ask(&visitor, &fields, &changes),
        Err(refusal @ Refusal::Invalid { .. }) => {
            let lang = visitor.lang;
            let title = lang.t("批量修改", "Change several products");
            let body = html! {
                (heading(title, &html! { a.button href="/admin/products" { (lang.t("回到列表", "Back to the list")) } }))
                p.error role="alert" { (reason(lang, &refusal)) }
            };
            page(&visitor, StatusCode::UNPROCESSABLE_ENTITY, title, &body)
        }
        Err(refusal) => failed(visitor.lang, &refusal),
    }
}

fn work(lang: Lang, fields: &Fields) -> Result<Work, Refusal> {
    let amount = fields.get("amount").trim();
    match fields.get("work") {
        "shelve" => Ok(Work::Shelf(true)),
        "unshelve" => Ok(Work::Shelf(false)),
        "price" => {
            let text = lang.t("请填写金额，例如 199.00。", "Enter an amount such as 199.00.");
            let price = cents(amount).map(Cents::new).ok_or_else(|| Refusal::invalid("amount", text))?;
            priced(price).map(|()| Work::Price(price))
        }
        "percent" => {
            let text = lang.t("请填写 -90 到 500 的整数百分比。", "Enter a whole percentage from -90 to 500.");
            let percent = amount.trim_end_matches('%').trim_start_matches('+').parse().ok();
            let percent = percent.filter(|percent| *percent != 0 && PERCENT.contains(percent));
            percent.map(Work::Percent).ok_or_else(|| Refusal::invalid("amount", text))
        }
        _ => Err(Refusal::invalid("work", lang.t("请选择操作。", "Choose what to do."))),
    }
}

/// The price after a change by `percent`, rounded to a cent.
fn changed_by(price: Cents, percent: i64) -> Cents {
    let cents = i128::from(price.get()) * i128::from(100 + percent);
    Cents::new(i64::try_from((cents + 50) / 100).unwrap_or(i64::MAX))
}

async fn preview<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    lang: Lang,
    fields: &Fields,
    work: Work,
) -> Result<Vec<Change>, Refusal> {
    let mut changes = Vec::new();
    for id in fields.all("product").filter_map(|id| id.parse::<ProductId>().ok()) {
        let Some(product) = api.store.catalogue().product(id).await? else { continue };
        match work {
            Work::Shelf(on) if product.on_shelf != on => changes.push(shelf_change(lang, &product, on)),
            Work::Shelf(_) => {}
            Work::Price(_) | Work::Percent(_) => {
                let page = Page { before: i64::MAX, limit: PAGE_MAX };
                let listed = api.store.catalogue().skus(Some(id), page).await?;
                if listed.next.is_some() {
                    let text = lang.t(
                        "商品的规格太多，请用 CSV 导入。",
                        "A product has too many SKUs for this; import a CSV file.",
                    );
                    return Err(Refusal::invalid("product", text));
                }
                let changed = listed.items.iter().filter_map(|sku| price_change(&product, sku, work));
                changes.extend(changed);
            }
        }
        if changes.len() > CHANGES_MAX {
            let text = lang.t("改动太多，请少选一些。", "These are too many changes at once. Select fewer products.");
            return Err(Refusal::invalid("product", text));
        }
    }
    if changes.is_empty() {
        let text =
            lang.t("没有选中商品，或者没有需要改动的内容。", "No product is selected, or none of them would change.");
        return Err(Refusal::invalid("product", text));
    }
    Ok(changes)
}

fn shelf_name(lang: Lang, on: bool) -> &'static str {
    if on { lang.t("在售", "On the shelf") } else { lang.t("下架", "Off the shelf") }
}

fn shelf_change(lang: Lang, product: &Product, on: bool) -> Change {
    let [before, after] = [!on, on].map(|on| shelf_name(lang, on).to_owned());
    let field = format!("shelf:{}:{}", product.product_id, if on { "on" } else { "off" });
    Change { subject: product.title.clone(), before, after, field }
}

fn price_change(product: &Product, sku: &Sku, work: Work) -> Option<Change> {
    let after = match work {
        Work::Price(price) => price,
        Work::Percent(percent) => changed_by(sku.price_cents, percent),
        Work::Shelf(_) => return None,
    };
    let field = format!("price:{}:{}:{}", sku.sku_id, sku.version, after.get());
    let subject = format!("{} ({})", product.title, attributes_of(sku));
    let [old, new] = [sku.price_cents, after].map(|price| yuan(price.get()));
    (after != sku.price_cents).then_some(Change { subject, before: old, after: new, field })
}

fn ask(visitor: &Visitor, fields: &Fields, changes: &[Change]) -> Response {
    let lang = visitor.lang;
    let title = lang.t("批量修改", "Change several products");
    let body = html! {
        (heading(title, &html! { a.button href="/admin/products" { (lang.t("取消", "Cancel")) } }))
        form.stack method="post" action="/admin/products/bulk" {
            (hidden(visitor))
            input type="hidden" name="confirmed" value="on";
            input type="hidden" name="work" value=(fields.get("work"));
            div.panel.scroll tabindex="0" { table {
                thead { tr { th { (lang.t("商品", "Product")) } th.right { (lang.t("现在", "Now")) } th.right { (lang.t("改为", "Then")) } } }
                tbody { @for change in changes {
                    tr { td { (change.subject) input type="hidden" name="change" value=(change.field); } td.right { (change.before) } td.right { strong { (change.after) } } }
                } }
            } }
            button.primary type="submit" { (lang.t("修改", "Make")) " " (changes.len()) " " (lang.t("项", "changes")) }
        }
    };
    page(visitor, StatusCode::OK, title, &body)
}

async fn carry_out<K: LedgerClient, C: Clock>(api: &Api<K, C>, visitor: &Visitor, fields: &Fields) -> Response {
    let lang = visitor.lang;
    let mut refused = Vec::new();
    let mut made = 0;
    for field in fields.all("change").take(CHANGES_MAX) {
        match change(api, visitor, field).await {
            Ok(()) => made += 1,
            Err((subject, refusal)) => refused.push((subject, reason(lang, &refusal))),
        }
    }
    let title = lang.t("批量修改", "Change several products");
    let status = if refused.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let body = html! {
        (heading(title, &html! { a.button.primary href="/admin/products" { (lang.t("回到列表", "Back to the list")) } }))
        ul.figures {
            li { span.figure { strong #made { (made) } span { (lang.t("项已修改", "Changes made")) } } }
            li.bad[!refused.is_empty()] { span.figure { strong #refused { (refused.len()) } span { (lang.t("项未修改", "Changes refused")) } } }
        }
        @if !refused.is_empty() { ul.panel.rows { @for (subject, reason) in &refused { li { span { (subject) } span.field-error { (reason) } } } } }
    };
    page(visitor, status, title, &body).into_response()
}

/// Makes one change. One that was made before is made.
async fn change<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    field: &str,
) -> Result<(), (String, Refusal)> {
    let invalid = || (field.to_owned(), Refusal::invalid("change", "the form can't be read"));
    match *field.split(':').collect::<Vec<_>>() {
        ["shelf", id, to] => {
            let id: ProductId = id.parse().map_err(|_| invalid())?;
            let shelved = actions::shelve(api, &visitor.staff, id, to == "on").await;
            shelved.map(drop).map_err(|refusal| (id.to_string(), refusal))
        }
        ["price", id, version, price] => {
            let id: SkuId = id.parse().map_err(|_| invalid())?;
            let (version, price) = (version.parse().map_err(|_| invalid())?, price.parse().map_err(|_| invalid())?);
            let price = Cents::new(price);
            let patch = SkuPatch { attributes: None, price_cents: Some(price) };
            let patching = actions::patch_sku(api, &visitor.staff, (id, version), patch);
            let Err(refusal) = patching.await else { return Ok(()) };
            match api.store.catalogue().sku(id).await {
                Ok(Some(sku)) if sku.price_cents == price => Ok(()),
                Ok(_) | Err(_) => Err((format!("SKU {id}"), refusal)),
            }
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_change_by_whole_percents_and_round_to_a_cent() {
        for (price, percent, expect) in
            [(19_950, 10, 21_945), (19_950, -33, 13_367), (1, -90, 0), (0, 500, 0), (5, 10, 6)]
        {
            assert_eq!(changed_by(Cents::new(price), percent), Cents::new(expect), "{price} {percent}");
        }
    }
}
