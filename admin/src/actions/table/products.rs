//! Products and SKUs from a file. A row is found again by the id of its SKU, or by category, title and attributes, so a
//! file that is sent twice changes nothing the second time.

use std::collections::BTreeMap;

use contract::{CategoryId, Cents, SkuId};
use foundation::Clock;
use store::{
    Attributes, Category, DESCRIPTION_CHARS_MAX, NewProduct, NewSku, PAGE_MAX, Page, Product, ProductPatch,
    ProductQuery, Sku, SkuPatch, TITLE_CHARS_MAX,
};

use super::{Column, Effect, Mode, Problem, Report, Table, deadline_ms};
use crate::{
    actions::{
        Api, Refusal, Staff, catalogue,
        fields::{STOCK_MAX, named, parse_attributes, parse_cents, priced, short},
    },
    csv::Row,
};

const fn column(name: &'static str, zh: &'static str, is_needed: bool) -> Column {
    Column { name, zh, is_needed }
}

/// The columns of a file of products, in the order of an export.
pub(crate) const COLUMNS: [Column; 9] = [
    column("sku_id", "sku编号", false),
    column("category", "分类", true),
    column("title", "名称", true),
    column("subtitle", "副标题", false),
    column("description", "描述", false),
    column("attributes", "属性", true),
    column("price", "价格", true),
    column("stock", "库存", false),
    column("on_shelf", "上架", false),
];

/// A row that can be read.
struct Item {
    sku: Option<SkuId>,
    category: CategoryId,
    title: String,
    /// `None` where the cell is blank: the product keeps what it has.
    subtitle: Option<String>,
    description: Option<String>,
    attributes: Attributes,
    price: Cents,
    stock: Option<u64>,
    on_shelf: Option<bool>,
}

type Key = (CategoryId, String);

/// A product that rows are of.
struct Known {
    /// The first row of the file that is of it.
    line: usize,
    first: [Option<String>; 3],
    /// `None` in a dry run, where the file makes the product.
    product: Option<Product>,
    skus: Vec<Sku>,
    lines: BTreeMap<Attributes, usize>,
}

/// All rows in their order, with what became of each or would.
pub(crate) async fn run<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    table: &Table,
    mode: Mode,
) -> Result<Vec<Report>, Refusal> {
    let categories = api.store.catalogue().all_categories().await?;
    let deadline_ms = deadline_ms(api);
    let (mut known, mut reports) = (BTreeMap::new(), Vec::with_capacity(table.rows.len()));
    for row in &table.rows {
        let outcome = if mode == Mode::CarryOut && api.clock.now_ms() >= deadline_ms {
            Err(Problem::NoTimeLeft)
        } else {
            take((api, staff, mode), (table, row, &categories), &mut known).await
        };
        let subject = format!("{} {}", table.cell(row, "title"), table.cell(row, "attributes"));
        reports.push(Report {
            line: row.line,
            subject: subject.trim().chars().take(TITLE_CHARS_MAX).collect(),
            outcome,
        });
    }
    Ok(reports)
}

async fn take<K: Sync, C: Clock>(
    (api, staff, mode): (&Api<K, C>, &Staff, Mode),
    (table, row, categories): (&Table, &Row, &[Category]),
    known: &mut BTreeMap<Key, Known>,
) -> Result<Effect, Problem> {
    table.check(row)?;
    let item = read(table, row, categories)?;
    let key = (item.category, item.title.clone());
    let mut found = if known.contains_key(&key) { None } else { find(api, &item).await? };
    let first = [item.subtitle.clone(), item.description.clone(), item.on_shelf.map(|on| on.to_string())];
    let entry = known.entry(key).or_insert_with(|| {
        let (product, skus) = found.take().unzip();
        Known { line: row.line, first: first.clone(), product, skus: skus.unwrap_or_default(), lines: BTreeMap::new() }
    });
    for ((before, now), column) in entry.first.iter_mut().zip(first).zip(["subtitle", "description", "on_shelf"]) {
        match (&before, now) {
            (Some(before), Some(now)) if *before != now => {
                return Err(Problem::Contradicts { line: entry.line, column });
            }
            (None, now) => *before = now,
            (Some(_), _) => {}
        }
    }
    if let Some(line) = entry.lines.get(&item.attributes) {
        return Err(Problem::Repeats(*line));
    }
    entry.lines.insert(item.attributes.clone(), row.line);
    let sku = entry.skus.iter().find(|sku| match item.sku {
        Some(id) => sku.sku_id == id,
        None => sku.attributes == item.attributes,
    });
    let sku = sku.cloned();
    if item.sku.is_some() && sku.is_none() {
        return Err(Problem::UnknownSku);
    }
    if sku.is_none() && item.stock.is_none() {
        return Err(Problem::Missing("stock"));
    }
    match mode {
        Mode::DryRun => Ok(expected(&item, entry, sku.as_ref())),
        Mode::CarryOut => Ok(carry_out(api, staff, &item, entry, sku).await?),
    }
}

/// The columns in which a product and a SKU differ from the row.
fn differences(item: &Item, product: &Product, sku: &Sku) -> Vec<&'static str> {
    let differs = |wanted: &Option<String>, now: &String| wanted.as_ref().is_some_and(|wanted| wanted != now);
    let all = [
        ("category", item.category != product.category_id),
        ("title", item.title != product.title),
        ("subtitle", differs(&item.subtitle, &product.subtitle)),
        ("description", differs(&item.description, &product.description)),
        ("attributes", item.attributes != sku.attributes),
        ("price", item.price != sku.price_cents),
        ("on_shelf", item.on_shelf.is_some_and(|on| on != product.on_shelf)),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(column, _)| column).collect()
}

fn expected(item: &Item, known: &mut Known, sku: Option<&Sku>) -> Effect {
    match (&known.product, sku) {
        (Some(product), Some(sku)) => {
            let columns = differences(item, product, sku);
            if columns.is_empty() { Effect::Nothing } else { Effect::Changes(columns) }
        }
        (Some(_), None) => Effect::NewSku,
        (None, _) if known.lines.len() > 1 => Effect::NewSku,
        (None, _) => Effect::NewProduct,
    }
}

async fn carry_out<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    item: &Item,
    known: &mut Known,
    sku: Option<Sku>,
) -> Result<Effect, Refusal> {
    let (product, is_new) = match known.product.take() {
        Some(product) => (product, false),
        None => {
            let new = NewProduct {
                category: item.category,
                title: item.title.clone(),
                subtitle: item.subtitle.clone().unwrap_or_default(),
                description: item.description.clone().unwrap_or_default(),
                image_ids: Vec::new(),
            };
            (catalogue::add_product(api, staff, new).await?, true)
        }
    };
    let product = known.product.insert(product);
    let mut columns = Vec::new();
    let effect = if let Some(sku) = &sku {
        columns = differences(item, product, sku);
        if columns.iter().any(|column| matches!(*column, "attributes" | "price")) {
            let patch = SkuPatch { attributes: Some(item.attributes.clone()), price_cents: Some(item.price) };
            catalogue::patch_sku(api, staff, (sku.sku_id, sku.version), patch).await?;
        }
        if columns.is_empty() { Effect::Nothing } else { Effect::Changes(columns.clone()) }
    } else {
        let (attributes, stock) = (item.attributes.clone(), item.stock.unwrap_or_default());
        let new = NewSku { product: product.product_id, attributes, price: item.price, stock };
        known.skus.push(catalogue::add_sku(api, staff, new).await?);
        if is_new { Effect::NewProduct } else { Effect::NewSku }
    };
    if columns.iter().any(|column| matches!(*column, "category" | "title" | "subtitle" | "description")) {
        let patch = ProductPatch {
            title: Some(item.title.clone()),
            subtitle: item.subtitle.clone(),
            description: item.description.clone(),
            category_id: Some(item.category),
            image_ids: None,
            image_alts: None,
        };
        *product = catalogue::patch_product(api, staff, (product.product_id, product.version), patch).await?;
    }
    if let Some(on_shelf) = item.on_shelf.filter(|on| *on != product.on_shelf) {
        *product = catalogue::shelve(api, staff, product.product_id, on_shelf).await?;
    }
    Ok(effect)
}

/// The product of a row and all its SKUs, where it exists.
async fn find<K: Sync, C: Clock>(api: &Api<K, C>, item: &Item) -> Result<Option<(Product, Vec<Sku>)>, Problem> {
    let product = match item.sku {
        Some(id) => {
            let sku = api.store.catalogue().sku(id).await.map_err(Refusal::from)?.ok_or(Problem::UnknownSku)?;
            api.store.catalogue().product(sku.product_id).await.map_err(Refusal::from)?
        }
        None => titled(api, item).await?,
    };
    let Some(product) = product else { return Ok(None) };
    let (mut skus, mut before) = (Vec::new(), Some(i64::MAX));
    while let Some(from) = before {
        let page = Page { before: from, limit: PAGE_MAX };
        let listed = api.store.catalogue().skus(Some(product.product_id), page).await.map_err(Refusal::from)?;
        skus.extend(listed.items);
        before = listed.next;
    }
    Ok(Some((product, skus)))
}

async fn titled<K: Sync, C: Clock>(api: &Api<K, C>, item: &Item) -> Result<Option<Product>, Refusal> {
    let which = ProductQuery { category: Some(item.category), on_shelf: None, title: Some(item.title.clone()) };
    let mut before = Some(i64::MAX);
    while let Some(from) = before {
        // Titles that contain this one are found as well.
        let listed = api.store.catalogue().find_products(&which, Page { before: from, limit: PAGE_MAX }).await?;
        if let Some(product) = listed.items.into_iter().find(|product| product.title == item.title) {
            return Ok(Some(product));
        }
        before = listed.next;
    }
    Ok(None)
}

fn read(table: &Table, row: &Row, categories: &[Category]) -> Result<Item, Problem> {
    let cell = |column: &str| table.cell(row, column);
    let value = |column: &'static str, detail: &str| Problem::Value { column, detail: detail.to_owned() };
    let text = |column: &str| Some(cell(column).to_owned()).filter(|text| !text.is_empty());
    let sku = match cell("sku_id").trim_start_matches('\'') {
        "" => None,
        id => Some(id.parse().map_err(|_| Problem::UnknownSku)?),
    };
    for column in ["category", "title", "price"] {
        if cell(column).is_empty() {
            return Err(Problem::Missing(column));
        }
    }
    let category = category_of(cell("category"), categories)?;
    named(cell("title"), TITLE_CHARS_MAX, "title")?;
    short(cell("subtitle"), TITLE_CHARS_MAX, "subtitle")?;
    short(cell("description"), DESCRIPTION_CHARS_MAX, "description")?;
    let attributes = parse_attributes(cell("attributes"))
        .ok_or_else(|| value("attributes", "it is written \"name: value, name: value\""))?;
    catalogue::attributed(&attributes)?;
    let price = parse_cents(&cell("price").replace(',', ""));
    let price = price.map(Cents::new).ok_or_else(|| value("price", "an amount such as 199.00"))?;
    priced(price)?;
    let stock = match cell("stock") {
        "" => None,
        units => {
            let units = units.parse().ok().filter(|units| *units <= STOCK_MAX);
            Some(units.ok_or_else(|| value("stock", "a whole number, 0 to 1000000000"))?)
        }
    };
    let on_shelf = match cell("on_shelf").to_lowercase().as_str() {
        "" => None,
        "yes" | "true" | "1" | "on" | "是" | "上架" => Some(true),
        "no" | "false" | "0" | "off" | "否" | "下架" => Some(false),
        _ => return Err(value("on_shelf", "yes or no")),
    };
    let title = cell("title").to_owned();
    let (subtitle, description) = (text("subtitle"), text("description"));
    Ok(Item { sku, category, title, subtitle, description, attributes, price, stock, on_shelf })
}

/// The category of this name or id.
fn category_of(text: &str, categories: &[Category]) -> Result<CategoryId, Problem> {
    let mut named = categories.iter().filter(|category| category.name == text);
    match (named.next(), named.next()) {
        (Some(category), None) => Ok(category.category_id),
        (Some(_), Some(_)) => Err(Problem::AmbiguousCategory(text.to_owned())),
        (None, _) => {
            let by_id = categories.iter().find(|category| category.category_id.to_string() == text);
            by_id.map(|category| category.category_id).ok_or_else(|| Problem::UnknownCategory(text.to_owned()))
        }
    }
}
