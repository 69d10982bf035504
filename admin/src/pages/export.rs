//! Lists as files for spreadsheets. A file is sent page by page, so its length takes no memory.

use std::{collections::VecDeque, io};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use foundation::Clock;
use futures_util::stream;
use ledger::LedgerClient;
use store::{Category, OrderQuery, PAGE_MAX, Page, ProductQuery, StoreError};

use super::{
    frame::failed,
    orders,
    products::{self, attributes_of},
    session::Visitor,
    text::plain_yuan,
};
use crate::{
    actions::{
        Api, Role,
        table::{products as product_table, shipments},
    },
    csv, mask,
};

/// With it, spreadsheets read the file as UTF-8.
const MARK: &str = "\u{feff}";

/// An answer that browsers save as `name`.
fn file(
    name: &'static str,
    header_line: String,
    pages: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    use futures_util::StreamExt as _;
    let first = stream::iter([Ok(Bytes::from(MARK.to_owned() + &header_line))]);
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(name)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(first.chain(pages))).into_response()
}

/// The lines of one page after the other, to the last one. An error cuts the download, so that a browser shows it as failed.
fn pages<S, F>(
    state: S,
    read: impl Fn(&S, Page) -> F + Send + 'static,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send
where
    S: Send + 'static,
    F: Future<Output = Result<(String, Option<i64>), StoreError>> + Send + 'static,
{
    stream::try_unfold((state, read, Some(i64::MAX)), |(state, read, before)| async move {
        let Some(before) = before else { return Ok(None) };
        let (lines, next) = read(&state, Page { before, limit: PAGE_MAX }).await.map_err(io::Error::other)?;
        Ok(Some((Bytes::from(lines), (state, read, next))))
    })
}

pub(super) async fn products<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<products::ListQuery>,
) -> Response {
    let which = query.which();
    let categories = match api.store.catalogue().all_categories().await {
        Ok(categories) => categories,
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let header_line = csv::line(product_table::COLUMNS.iter().map(|column| column.name));
    let lines = pages((api, which, categories), |(api, which, categories), page| {
        let (api, which, categories) = (api.clone(), which.clone(), categories.clone());
        async move { product_lines(&api, &which, &categories, page).await }
    });
    file("attachment; filename=\"products.csv\"", header_line, lines)
}

async fn product_lines<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    which: &ProductQuery,
    categories: &[Category],
    page: Page,
) -> Result<(String, Option<i64>), StoreError> {
    let listed = api.store.catalogue().find_products(which, page).await?;
    let mut lines = String::new();
    for product in listed.items {
        let category = categories.iter().find(|category| category.category_id == product.category_id);
        let is_alone = |name: &str| categories.iter().filter(|other| other.name == name).count() == 1;
        let category = match category {
            Some(category) if is_alone(&category.name) => category.name.clone(),
            Some(_) | None => product.category_id.to_string(),
        };
        let mut skus = VecDeque::new();
        let mut before = Some(i64::MAX);
        while let Some(from) = before {
            let listed =
                api.store.catalogue().skus(Some(product.product_id), Page { before: from, limit: PAGE_MAX }).await?;
            listed.items.into_iter().for_each(|sku| skus.push_front(sku));
            before = listed.next;
        }
        for sku in skus {
            lines.push_str(&csv::line([
                // An apostrophe keeps the digits of a long number.
                format!("'{}", sku.sku_id).as_str(),
                &category,
                &product.title,
                &product.subtitle,
                &product.description,
                &attributes_of(&sku),
                &plain_yuan(sku.price_cents.get()),
                &sku.stock.to_string(),
                if product.on_shelf { "yes" } else { "no" },
            ]));
        }
    }
    Ok((lines, listed.next))
}

pub(super) async fn orders<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<orders::ListQuery>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    let more = ["status", "ordered_at", "recipient", "phone", "region", "detail", "goods", "total"];
    let header_line = csv::line(shipments::COLUMNS.iter().map(|column| column.name).chain(more));
    let lines = pages((api, query.which(&visitor), visitor), |(api, which, visitor), page| {
        let (api, which, visitor) = (api.clone(), which.clone(), visitor.clone());
        async move { order_lines(&api, &which, &visitor, page).await }
    });
    file("attachment; filename=\"orders.csv\"", header_line, lines)
}

async fn order_lines<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    which: &OrderQuery,
    visitor: &Visitor,
    page: Page,
) -> Result<(String, Option<i64>), StoreError> {
    let listed = api.store.orders().staff_orders(which, page).await?;
    let mut lines = String::new();
    for order in listed.items {
        let order = mask::order(order, visitor.staff.role).order;
        let text = |value: &Option<serde_json::Value>, name: &str| {
            value.as_ref().and_then(|value| value[name].as_str()).unwrap_or_default().to_owned()
        };
        let goods: Vec<String> = order.lines.iter().map(|line| format!("{} × {}", line.quantity, line.title)).collect();
        lines.push_str(&csv::line([
            format!("'{}", order.id).as_str(),
            &text(&order.shipment, "carrier"),
            &text(&order.shipment, "tracking_no"),
            order.state.as_str(),
            &foundation::rfc3339::format(order.created_at_ms),
            &text(&order.address, "recipient"),
            &text(&order.address, "phone"),
            &text(&order.address, "region"),
            &text(&order.address, "detail"),
            &goods.join("; "),
            &plain_yuan(order.total.get()),
        ]));
    }
    Ok((lines, listed.next))
}
