//! A small catalogue and one flash sale for a mall that is empty.

use contract::{
    ActivityId, Cents,
    activity::{Admission, Rules},
};

use crate::{
    StoreError,
    activities::{AddedSale, NewSale},
    catalogue::{Attributes, NewCategory, NewProduct, NewSku, Sku},
    db::Store,
    page::Page,
};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// How long the demo sale runs.
const DEMO_DAYS: u64 = 30;
const DEMO_STOCK: u64 = 1000;

struct Item {
    title: &'static str,
    subtitle: &'static str,
    kinds: &'static [(&'static str, &'static str, i64, u64)],
}

const CATALOGUE: [(&str, &[Item]); 3] = [
    (
        "手机数码",
        &[
            Item {
                title: "旗舰手机 12GB+256GB",
                subtitle: "两亿像素，全天续航",
                kinds: &[("颜色", "曜石黑", 399_900, 5000), ("颜色", "雪域白", 399_900, 3000)],
            },
            Item {
                title: "真无线降噪耳机", subtitle: "48 dB 主动降噪", kinds: &[("颜色", "云雾灰", 69_900, 8000)]
            },
        ],
    ),
    (
        "食品生鲜",
        &[
            Item {
                title: "明前龙井 250g",
                subtitle: "核心产区，手工炒制",
                kinds: &[("规格", "罐装", 58_800, 2000), ("规格", "礼盒", 98_800, 1000)],
            },
            Item {
                title: "阳澄湖大闸蟹 8 只", subtitle: "顺丰冷链", kinds: &[("规格", "公4两母3两", 36_800, 1200)]
            },
        ],
    ),
    (
        "家居日用",
        &[Item {
            title: "恒温电热水壶 1.7L", subtitle: "316L 不锈钢", kinds: &[("颜色", "米白", 19_900, 4000)]
        }],
    ),
];

impl Store {
    /// Fills an empty mall; the demo sale's id, `None` where the mall was not empty.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seed(&self, now_ms: u64) -> Result<Option<ActivityId>, StoreError> {
        if !self.categories(Page { before: i64::MAX, limit: 1 }).await?.items.is_empty() {
            return Ok(None);
        }
        let mut first: Option<Sku> = None;
        for (order, (name, items)) in (0..).zip(CATALOGUE) {
            let new = NewCategory { parent: None, name: name.to_owned(), sort_order: order };
            let Some(category) = self.add_category(new, now_ms).await? else { continue };
            for item in items {
                let new = NewProduct {
                    category: category.category_id,
                    title: item.title.to_owned(),
                    subtitle: item.subtitle.to_owned(),
                    description: format!("{}。{}。", item.title, item.subtitle),
                    image_ids: Vec::new(),
                };
                let Some(product) = self.add_product(new, now_ms).await? else { continue };
                for (name, value, price_cents, stock) in item.kinds {
                    let attributes = Attributes::from([((*name).to_owned(), (*value).to_owned())]);
                    let price = Cents::new(*price_cents);
                    let new = NewSku { product: product.product_id, attributes, price, stock: *stock };
                    first = first.or(self.add_sku(new, now_ms).await?);
                }
                self.shelve(product.product_id, true).await?;
            }
        }
        let Some(sku) = first else { return Ok(None) };
        let rules = Rules { per_user_limit: 1, starts_at_ms: now_ms, ends_at_ms: now_ms + DEMO_DAYS * DAY_MS };
        let title = "一元秒杀 · 旗舰手机".to_owned();
        let admission = Admission::default();
        let new = NewSale { title, sku: sku.sku_id, price: Cents::new(100), stock: DEMO_STOCK, rules, admission };
        match self.add_sale(new, now_ms).await? {
            AddedSale::Added(sale) => Ok(Some(sale.activity.id)),
            AddedSale::UnknownSku | AddedSale::InsufficientStock(_) => Ok(None),
        }
    }
}
