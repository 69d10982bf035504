//! Products with their SKUs and pictures.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::{Cents, ProductId, SkuId};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use serde::Deserialize;
use store::{NewProduct, NewSku, Page, Product, ProductPatch, ProductQuery, Sku, SkuPatch};
use web::Path;

use super::{
    bulk,
    catalogue::{choices, page_at},
    form::{Errors, Fields, Posted, Shown, button, hidden, key, submit, submit_then},
    frame::{failed, heading, missing, page},
    list::{self, Column, Filters},
    pictures,
    session::Visitor,
    text::{Lang, cents, grouped, plain_yuan, yuan},
};
use crate::actions::{Api, Refusal, Role, catalogue as actions, fields::parse_attributes, sales};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    q: String,
    category: String,
    shelf: String,
    cursor: String,
}

impl ListQuery {
    /// The products that these filters name.
    pub(super) fn which(&self) -> ProductQuery {
        ProductQuery {
            category: self.category.parse().ok(),
            on_shelf: match self.shelf.as_str() {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            },
            title: Some(self.q.trim().to_owned()).filter(|title| !title.is_empty()),
        }
    }
}

pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let lang = visitor.lang;
    let which = query.which();
    let read = async {
        let categories = choices(&api, Some(lang.t("全部分类", "All categories"))).await?;
        Ok::<_, Refusal>((api.store.catalogue().find_products(&which, page_at(&query.cursor)).await?, categories))
    };
    let (listed, categories) = match read.await {
        Ok(read) => read,
        Err(refusal) => return failed(lang, &refusal),
    };
    let pairs = [("q", query.q), ("category", query.category), ("shelf", query.shelf)];
    let filters = Filters::new(&visitor, "/admin/products", pairs);
    let shelf = list::choices([
        ("", lang.t("全部", "All")),
        ("on", lang.t("在售", "On the shelf")),
        ("off", lang.t("下架", "Off the shelf")),
    ]);
    let title = lang.t("商品", "Products");
    let name_of = |id: String| categories.iter().find(|(value, _)| *value == id).map(|(_, name)| name.clone());
    let may = visitor.may(Role::Operator);
    let columns = [
        Column::Select,
        Column::Text(lang.t("图片", "Picture")),
        Column::Text(lang.t("商品", "Product")),
        Column::Text(lang.t("分类", "Category")),
        Column::Text(lang.t("状态", "Shelf")),
    ];
    let columns = if may { &columns[..] } else { &columns[1..] };
    let row = |row: &Product| {
        html! {
            @if may { td.select { (bulk::check_box(row)) } }
            td.thumb { @if let Some(url) = api.images.urls(&row.image_ids).first() { img src=(url) alt="" width="48" height="48" loading="lazy"; } }
            td { a href={ "/admin/products/" (row.product_id) } { (row.title) } @if !row.subtitle.is_empty() { br; span.muted { (row.subtitle) } } }
            td { (name_of(row.category_id.to_string()).unwrap_or_default()) }
            td { (shelf_badge(lang, row)) }
        }
    };
    let body = html! {
        (heading(title, &html! {
            a.button href=(filters.address("/admin/products/export")) { (lang.t("导出 CSV", "Export CSV")) }
            @if visitor.may(Role::Operator) {
                a.button href="/admin/products/import" { (lang.t("导入 CSV", "Import CSV")) }
                a.button.primary href="/admin/products/new" { (lang.t("新建商品", "New product")) }
            }
        }))
        (filters.form(|shown, lang| html! {
            (shown.input("q", lang.t("名称包含", "Title contains"), "search", ""))
            (shown.select("category", lang.t("分类", "Category"), &categories, ""))
            (shown.select("shelf", lang.t("状态", "Shelf"), &shelf, ""))
        }))
        (list::table(columns, &listed, lang.t("没有符合条件的商品。", "No product matches."), row))
        (filters.pager(listed.next))
        @if !listed.items.is_empty() { (bulk::panel(&visitor)) }
    };
    page(&visitor, StatusCode::OK, title, &body)
}

fn shelf_badge(lang: Lang, product: &Product) -> Markup {
    html! {
        @if product.on_shelf { span.badge.good { (lang.t("在售", "On the shelf")) } }
        @else { span.badge { (lang.t("下架", "Off the shelf")) } }
    }
}

fn product_fields(shown: Shown<'_>, lang: Lang, categories: &[(String, String)]) -> Markup {
    html! {
        (shown.input("title", lang.t("名称", "Title"), "text", lang.t("可写“中文 / English”。", "\"中文 / English\" is shown by language.")))
        (shown.input("subtitle", lang.t("副标题", "Subtitle"), "text", ""))
        (shown.select("category_id", lang.t("分类", "Category"), categories, ""))
        (shown.input("description", lang.t("描述", "Description"), "textarea", ""))
    }
}

pub(super) async fn new<K: LedgerClient, C: Clock>(State(api): State<Api<K, C>>, visitor: Visitor) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    form_for_new(&api, &visitor, (&Fields::default(), &Errors::default()), StatusCode::OK).await
}

async fn form_for_new<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    (fields, errors): (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let categories = match choices(api, None).await {
        Ok(categories) => categories,
        Err(refusal) => return failed(lang, &refusal),
    };
    let title = lang.t("新建商品", "New product");
    let body = html! {
        (heading(title, &html! {}))
        form.panel.stack.narrow method="post" action="/admin/products" {
            (errors.summary(lang)) (hidden(visitor))
            (product_fields(Shown { fields, errors }, lang, &categories))
            button.primary type="submit" { (lang.t("新建", "Create")) }
            p.hint { (lang.t("新商品先是下架状态，之后再添加规格和图片。", "A new product is off the shelf. SKUs and pictures come next.")) }
        }
    };
    page(visitor, status, title, &body)
}

pub(super) async fn add<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let mut errors = Errors::default();
    let category = fields.get("category_id").parse().ok();
    let Some(category) =
        errors.need("category_id", category, visitor.lang.t("请先选择分类。", "Choose a category first."))
    else {
        return form_for_new(&api, &visitor, (&fields, &errors), StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let [title, subtitle, description] = ["title", "subtitle", "description"].map(|name| text(&fields, name));
    let new = NewProduct { category, title, subtitle, description, image_ids: Vec::new() };
    let adding = actions::add_product(&api, &visitor.staff, new);
    let to = |product: Product| format!("/admin/products/{}", product.product_id);
    submit_then(&visitor, adding, to, async |errors, status| {
        form_for_new(&api, &visitor, (&fields, &errors), status).await
    })
    .await
}

/// A text of a form, with the line ends that the database has.
fn text(fields: &Fields, name: &str) -> String {
    fields.get(name).replace("\r\n", "\n").trim().to_owned()
}

/// Which of the forms on a product's page complains, and what it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Product,
    NewSku,
    Sku(SkuId),
    Stock(SkuId),
    Picture,
}

/// The form that was refused.
struct Refused<'a> {
    part: Part,
    fields: &'a Fields,
    errors: Errors,
    status: StatusCode,
}

pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<ProductId>,
) -> Response {
    shown(&api, &visitor, id, None).await
}

async fn shown<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: ProductId,
    refused: Option<Refused<'_>>,
) -> Response {
    let read = async {
        let Some(product) = api.store.catalogue().product(id).await? else { return Ok(None) };
        let skus = api.store.catalogue().skus(Some(id), Page { before: i64::MAX, limit: store::PAGE_MAX }).await?.items;
        Ok::<_, Refusal>(Some((product, skus, choices(api, None).await?)))
    };
    let (product, skus, categories) = match read.await {
        Ok(Some(read)) => read,
        Ok(None) => return missing(visitor),
        Err(refusal) => return failed(visitor.lang, &refusal),
    };
    let lang = visitor.lang;
    let clean = Errors::default();
    let now = Fields::of([
        ("title", product.title.clone()),
        ("subtitle", product.subtitle.clone()),
        ("category_id", product.category_id.to_string()),
        ("description", product.description.clone()),
    ]);
    let against = refused.as_ref().map(|refused| refused.errors.against(now.clone()));
    let of = |part: Part| refused.as_ref().filter(|refused| refused.part == part);
    let of_product =
        of(Part::Product).zip(against.as_ref()).map_or((&now, &clean), |(refused, errors)| (refused.fields, errors));
    let empty = Fields::default();
    let of_sku = of(Part::NewSku).map_or((&empty, &clean), |refused| (refused.fields, &refused.errors));
    let may = visitor.may(Role::Operator);
    let shelf =
        |on: &str, label: &str| button(visitor, &format!("/admin/products/{id}/shelf"), label, "button", &[("on", on)]);
    let body = html! {
        (heading(&product.title, &html! {
            (shelf_badge(lang, &product))
            @if may { @if product.on_shelf { (shelf("off", lang.t("下架", "Take off the shelf"))) } @else { (shelf("on", lang.t("上架", "Put on the shelf"))) } }
        }))
        div.two.wide-left {
            div.stack {
                section.panel { h2 { (lang.t("规格与库存", "SKUs and stock")) }
                    @if skus.is_empty() { p.muted { (lang.t("还没有规格，商品不能卖。", "There is no SKU yet; nothing can be sold.")) } }
                    div.skus { @for sku in &skus { (sku_row(visitor, sku, of(Part::Sku(sku.sku_id)))) @if may { (stock_form(visitor, sku, of(Part::Stock(sku.sku_id)))) } } }
                }
                @if may { (new_sku_form(visitor, id, of_sku)) }
                (pictures::panel(api, visitor, &product, of(Part::Picture).map(|refused| &refused.errors)))
            }
            form.panel.stack method="post" action={ "/admin/products/" (id) } {
                h2 { (lang.t("商品信息", "Product")) }
                (of_product.1.summary(lang)) (hidden(visitor))
                input type="hidden" name="version" value=(product.version);
                (product_fields(Shown { fields: of_product.0, errors: of_product.1 }, lang, &categories))
                @if may { button.primary type="submit" { (lang.t("保存", "Save")) } }
            }
        }
    };
    page(visitor, refused.as_ref().map_or(StatusCode::OK, |refused| refused.status), &product.title, &body)
}

/// `颜色: 黑, 容量: 256 GB`.
pub(super) fn attributes_of(sku: &Sku) -> String {
    sku.attributes.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
}

fn sku_row(visitor: &Visitor, sku: &Sku, refused: Option<&Refused<'_>>) -> Markup {
    let lang = visitor.lang;
    let error = refused.map(|refused| refused.errors.summary(lang));
    let price =
        refused.map_or_else(|| plain_yuan(sku.price_cents.get()), |refused| refused.fields.get("price").to_owned());
    html! {
        div.sku {
            div.grow { strong { (attributes_of(sku)) } br; span.muted { "SKU " (sku.sku_id) } }
            div.number { (yuan(sku.price_cents.get())) br; span.muted { (lang.t("库存", "Stock")) " " (grouped(sku.stock)) } }
            @if visitor.may(Role::Operator) {
                form.inline method="post" action={ "/admin/skus/" (sku.sku_id) } {
                    (hidden(visitor)) input type="hidden" name="version" value=(sku.version);
                    @if let Some(error) = error { (error) }
                    input name="price" value=(price) inputmode="decimal" size="9" aria-label=(lang.t("新价格（元）", "New price in yuan"));
                    button type="submit" { (lang.t("改价", "Set price")) }
                }
                a.button href={ "/admin/sales/new?sku=" (sku.sku_id) } { (lang.t("做秒杀", "Start a sale")) }
            }
        }
    }
}

/// Changes the stock of a SKU, with the reason for the audit log.
fn stock_form(visitor: &Visitor, sku: &Sku, refused: Option<&Refused<'_>>) -> Markup {
    let lang = visitor.lang;
    let value = |name| refused.map_or_else(String::new, |refused| refused.fields.get(name).to_owned());
    // A form that is sent once more after an error is the same operation.
    let key = refused.map_or_else(key, |refused| refused.fields.get("key").to_owned());
    let attributes = attributes_of(sku);
    html! {
        details.stock open[refused.is_some()] {
            summary { (lang.t("改库存", "Change the stock")) span.muted { " " (attributes) } }
            form.inline method="post" action={ "/admin/skus/" (sku.sku_id) "/stock" } {
                (hidden(visitor)) input type="hidden" name="key" value=(key);
                @if let Some(refused) = refused { (refused.errors.summary(lang)) }
                input name="delta" value=(value("delta")) inputmode="numeric" size="9" required placeholder=(lang.t("+10 或 -3", "+10 or -3"))
                    aria-label=(lang.t("增减数量", "Units to add or take away"));
                input name="reason" value=(value("reason")) size="24" required maxlength=(actions::STOCK_REASON_CHARS_MAX)
                    placeholder=(lang.t("原因，例如盘点", "Reason, such as a count")) aria-label=(lang.t("原因", "Reason"));
                button type="submit" { (lang.t("改库存", "Change the stock")) }
            }
        }
    }
}

fn new_sku_form(visitor: &Visitor, id: ProductId, (fields, errors): (&Fields, &Errors)) -> Markup {
    let lang = visitor.lang;
    let shown = Shown { fields, errors };
    html! {
        form.panel.stack method="post" action={ "/admin/products/" (id) "/skus" } {
            h2 { (lang.t("添加规格", "Add a SKU")) }
            (errors.summary(lang)) (hidden(visitor))
            (shown.input("attributes", lang.t("属性", "Attributes"), "text", lang.t("例如：颜色: 黑, 容量: 256 GB", "For example: Colour: black, Storage: 256 GB")))
            div.pair {
                (shown.input("price_cents", lang.t("价格（元）", "Price in yuan"), "text", ""))
                (shown.input("stock", lang.t("库存", "Stock"), "number", ""))
            }
            button.primary type="submit" { (lang.t("添加规格", "Add the SKU")) }
        }
    }
}

pub(super) async fn patch<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let [title, subtitle, description] = ["title", "subtitle", "description"].map(|name| Some(text(&fields, name)));
    let category_id = fields.get("category_id").parse().ok();
    let patch = ProductPatch { title, subtitle, description, category_id, ..ProductPatch::default() };
    let version = fields.get("version").parse().unwrap_or(0);
    let patching = actions::patch_product(&api, &visitor.staff, (id, version), patch);
    answer(&api, &visitor, id, (Part::Product, &fields), patching).await
}

/// Back to the product, or its page with the form that was refused.
pub(super) async fn answer<K: LedgerClient, C: Clock, T>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: ProductId,
    (part, fields): (Part, &Fields),
    action: impl Future<Output = Result<T, Refusal>>,
) -> Response {
    submit(visitor, action, &format!("/admin/products/{id}"), async |errors, status| {
        shown(api, visitor, id, Some(Refused { part, fields, errors, status })).await
    })
    .await
}

pub(super) async fn shelf<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let shelving = actions::shelve(&api, &visitor.staff, id, fields.is_on("on"));
    answer(&api, &visitor, id, (Part::Product, &fields), shelving).await
}

pub(super) async fn add_sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let (lang, mut errors) = (visitor.lang, Errors::default());
    let attributes = errors.need(
        "attributes",
        parse_attributes(fields.get("attributes")),
        lang.t("请写成“名称: 值, 名称: 值”。", "Write it as \"name: value, name: value\"."),
    );
    let price = cents(fields.get("price_cents")).map(Cents::new);
    let price =
        errors.need("price_cents", price, lang.t("请填写金额，例如 199.00。", "Enter an amount such as 199.00."));
    let stock = fields.get("stock").parse().ok();
    let stock = errors.need("stock", stock, lang.t("请填写 0 或更大的整数。", "Enter a whole number from 0 on."));
    let (Some(attributes), Some(price), Some(stock)) = (attributes, price, stock) else {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return shown(&api, &visitor, id, Some(Refused { part: Part::NewSku, fields: &fields, errors, status })).await;
    };
    let adding = actions::add_sku(&api, &visitor.staff, NewSku { product: id, attributes, price, stock });
    answer(&api, &visitor, id, (Part::NewSku, &fields), adding).await
}

pub(super) async fn patch_sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<SkuId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let sku = match api.store.catalogue().sku(id).await {
        Ok(Some(sku)) => sku,
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let patching = async {
        let detail = visitor.lang.t("请填写金额，例如 199.00。", "Enter an amount such as 199.00.");
        let price = cents(fields.get("price")).ok_or_else(|| Refusal::invalid("", detail))?;
        let patch = SkuPatch { attributes: None, price_cents: Some(Cents::new(price)) };
        let version = fields.get("version").parse().unwrap_or(0);
        actions::patch_sku(&api, &visitor.staff, (id, version), patch).await
    };
    answer(&api, &visitor, sku.product_id, (Part::Sku(id), &fields), patching).await
}

pub(super) async fn change_stock<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<SkuId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let sku = match api.store.catalogue().sku(id).await {
        Ok(Some(sku)) => sku,
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let changing = async {
        let detail = visitor
            .lang
            .t("请填写不为 0 的整数，例如 10 或 -3。", "Enter a whole number that is not 0, such as 10 or -3.");
        let delta = fields.get("delta").trim().parse().map_err(|_| Refusal::invalid("", detail))?;
        let (row, key) = (("stock", id.as_i64(), delta), Some(fields.get("key")));
        let operation = sales::operation_under(&api, &visitor.staff, row, key)?;
        actions::change_stock(&api, &visitor.staff, (id, operation), (delta, fields.get("reason").trim())).await
    };
    answer(&api, &visitor, sku.product_id, (Part::Stock(id), &fields), changing).await
}
