//! An electronics shop for a mall that is empty: products with pictures, and three flash sales.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use contract::{
    ActivityId, CategoryId, Cents, UserId,
    activity::{Admission, Rules},
    token::TokenKey,
};
use foundation::{Clock, SystemClock};
use images::Images;
use serde::Deserialize;
use store::{AddedSale, Attributes, NewCategory, NewProduct, NewSale, NewSku, Page, Sku, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

include!(concat!(env!("OUT_DIR"), "/pictures.rs"));

const CATALOGUE: &str = include_str!("../example/catalogue.json");
const DAY_MS: u64 = 24 * 3600 * 1000;
/// When the sale that is to come starts: soon enough to wait for it.
const STARTS_IN_MS: u64 = 3 * 60 * 1000;
const STOCK: u64 = 500;
/// Stock of every fifth SKU, so that the shop shows what few units look like.
const STOCK_LOW: u64 = 6;
/// The shopper who buys the only unit of the third sale. A user with this id is never registered: ids are far larger.
const FIRST_BUYER: i64 = 2;
/// The sale opens within a second; a mall that is stopped earlier has an unsold unit, which hurts nobody.
const SELL_OUT_TRIES: u32 = 40;
const SELL_OUT_PAUSE: Duration = Duration::from_millis(250);
const TOKEN_S: u64 = 60;

#[derive(Deserialize)]
struct Catalogue {
    categories: Vec<String>,
    /// What is true of every product of a category, "中文 / English", after what its subtitle says.
    about: Vec<String>,
    products: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    category: usize,
    title: String,
    subtitle: String,
    colours: Vec<String>,
    /// The name of the attribute besides the colour.
    key: String,
    /// Its values, each with a price in cents.
    sizes: Vec<(String, i64)>,
}

/// Sales that were added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Examples {
    pub(crate) running: ActivityId,
    pub(crate) sold_out: ActivityId,
}

/// A sale of the first SKU of a product.
struct Offer {
    product: usize,
    title: &'static str,
    price: i64,
    stock: u64,
    starts_in_ms: u64,
    days: u64,
}

const RUNNING: Offer = Offer {
    product: 0,
    title: "旗舰手机一元秒杀 / Flagship phone for one yuan",
    price: 100,
    stock: 200,
    starts_in_ms: 0,
    days: 30,
};
const COMING: Offer = Offer {
    product: 7,
    title: "降噪耳机半价抢 / Half-price headphones",
    price: 64_900,
    stock: 50,
    starts_in_ms: STARTS_IN_MS,
    days: 2,
};
const SOLD_OUT: Offer = Offer {
    product: 24,
    title: "智能手表首发 / Smart watch launch",
    price: 59_900,
    stock: 1,
    starts_in_ms: 0,
    days: 30,
};

/// Fills an empty mall; `None` where it was not empty.
pub(crate) async fn fill(store: &Store, images: &Images, now_ms: u64) -> Result<Option<Examples>> {
    if !store.catalogue().categories(Page { before: i64::MAX, limit: 1 }).await?.items.is_empty() {
        return Ok(None);
    }
    let catalogue: Catalogue = serde_json::from_str(CATALOGUE).context("the example catalogue")?;
    let mut categories = Vec::new();
    for (order, name) in (0..).zip(&catalogue.categories) {
        let new = NewCategory { parent: None, name: name.clone(), sort_order: order };
        categories.push(store.catalogue().add_category(new, now_ms).await?.context("a category")?.category_id);
    }
    let mut first = Vec::new();
    // What is added last is listed first.
    for (index, item) in catalogue.products.iter().enumerate().rev() {
        let category = *categories.get(item.category).context("a product's category")?;
        let about = catalogue.about.get(item.category).context("what a category's products have in common")?;
        first.push(add(store, images, (index, item), (category, about), now_ms).await?);
    }
    first.reverse();
    let sell = async |offer: Offer| {
        let sku = first.get(offer.product).context("a sale's product")?;
        add_sale(store, sku, offer, now_ms).await
    };
    let sold_out = sell(SOLD_OUT).await?;
    sell(COMING).await?;
    Ok(Some(Examples { running: sell(RUNNING).await?, sold_out }))
}

/// Adds a product with its pictures and SKUs; its first SKU.
async fn add(
    store: &Store,
    images: &Images,
    (index, item): (usize, &Item),
    (category, about): (CategoryId, &str),
    now_ms: u64,
) -> Result<Sku> {
    let mut image_ids = Vec::new();
    let prefix = format!("{:02}-", index + 1);
    for (_, bytes) in PICTURES.iter().filter(|(name, _)| name.starts_with(&prefix)) {
        let room = images.room().context("room for a picture")?;
        image_ids.push(room.add(bytes.to_vec()).await?.to_string());
    }
    let (title, subtitle, description) = (item.title.clone(), item.subtitle.clone(), describe(&item.subtitle, about));
    let new = NewProduct { category, title, subtitle, description, image_ids };
    let product = store.catalogue().add_product(new, now_ms).await?.context("a product")?.product_id;
    let mut first = None;
    for (at, colour) in item.colours.iter().enumerate() {
        for (size, price) in &item.sizes {
            let attributes =
                Attributes::from([("颜色 / Colour".to_owned(), colour.clone()), (item.key.clone(), size.clone())]);
            let stock = if at > 0 && (index + at) % 5 == 0 { STOCK_LOW } else { STOCK };
            let new = NewSku { product, attributes, price: Cents::new(*price), stock };
            first = first.or(store.catalogue().add_sku(new, now_ms).await?);
        }
    }
    store.catalogue().shelve(product, true).await?;
    first.context("a SKU")
}

/// A description of both texts, which are "中文 / English".
fn describe(subtitle: &str, about: &str) -> String {
    match (subtitle.split_once(" / "), about.split_once(" / ")) {
        (Some((short, short_en)), Some((long, long_en))) => format!("{short}。\n{long} / {short_en}.\n{long_en}"),
        (_, _) => subtitle.to_owned(),
    }
}

async fn add_sale(store: &Store, sku: &Sku, offer: Offer, now_ms: u64) -> Result<ActivityId> {
    let starts_at_ms = now_ms + offer.starts_in_ms;
    let rules = Rules { per_user_limit: 1, starts_at_ms, ends_at_ms: now_ms + offer.days * DAY_MS };
    let (title, price, admission) = (offer.title.to_owned(), Cents::new(offer.price), Admission::default());
    let new = NewSale {
        title,
        sku: sku.sku_id,
        price,
        stock: offer.stock,
        rules,
        admission,
        pay_within_ms: None,
        is_draft: false,
    };
    match store.sales().add_sale(new, now_ms).await? {
        AddedSale::Added(sale) => Ok(sale.activity.id),
        AddedSale::UnknownSku | AddedSale::AboveShopPrice(_) | AddedSale::InsufficientStock(_) => {
            anyhow::bail!("a sale needs a SKU with its stock and at least its price")
        }
    }
}

/// Buys the only unit of `sale` as any client would. It is not paid for, so half an hour later it is on sale again.
pub(crate) fn sell_out(sale: ActivityId, gateway: SocketAddr, key: &TokenKey) {
    let Some(buyer) = UserId::from_i64(FIRST_BUYER) else { return };
    let token = key.sign(buyer, None, SystemClock.now_ms() / 1000, TOKEN_S);
    let body = format!(r#"{{"activity_id":"{sale}","quantity":1}}"#);
    let request = format!(
        "POST /api/v1/seckill/orders HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        for _ in 0..SELL_OUT_TRIES {
            if matches!(send(gateway, &request).await, Ok(answer) if answer.starts_with(b"HTTP/1.1 202")) {
                return;
            }
            tokio::time::sleep(SELL_OUT_PAUSE).await;
        }
        tracing::warn!(%sale, "the example of a sale that is sold out still has its unit");
    });
}

async fn send(gateway: SocketAddr, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use foundation::config::ImagesConfig;
    use store::{Ids, PAGE_MAX, Settings};

    use super::*;

    const NOW_MS: u64 = 1_764_000_000_000;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_empty_mall_is_filled_once() {
        let directory = tempfile::tempdir().unwrap();
        let number = std::sync::atomic::AtomicI64::new(1000);
        let ids = Ids::new(move || Ok::<_, std::io::Error>(number.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let settings = Settings::of(&foundation::config::load(None, std::iter::empty()).unwrap());
        let store = Store::open(&directory.path().join("mall.db"), ids, settings).await.unwrap();
        let config = ImagesConfig { oss: None };
        let images = Images::open(&config, &directory.path().join("images"), "http://shop.test").unwrap();
        let examples = fill(&store, &images, NOW_MS).await.unwrap().unwrap();
        assert!(fill(&store, &images, NOW_MS).await.unwrap().is_none());

        let page = Page { before: i64::MAX, limit: PAGE_MAX };
        let products = store.catalogue().products(page).await.unwrap().items;
        assert_eq!(products.len(), 40);
        assert!(products.iter().all(|product| product.on_shelf && !product.image_ids.is_empty()));
        let due = store.sales().sales_to_open(NOW_MS, 0).await.unwrap();
        assert!(due.contains(&examples.running) && due.contains(&examples.sold_out) && due.len() == 2, "{due:?}");
        assert_eq!(store.sales().all(page).await.unwrap().items.len(), 3);
    }
}
