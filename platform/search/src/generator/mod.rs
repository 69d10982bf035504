//! Products such as shops have, and queries with a judgement for each product.
//!
//! A product is made of attributes ([`Truth`]), and its title from these by rules of its own: some attributes are left out, a
//! brand is written in Chinese, in Latin letters or both, a model with or without its signs. A query is made of attributes as
//! well, and whether a product is meant by it follows from attributes alone, never from its title.

mod catalogue;
mod judged;
mod random;

use contract::{
    ids::{CategoryId, ProductId},
    money::Cents,
};

pub use judged::{Kind, Query, Want, quality, queries};

use catalogue::{Brand, LEAVES, Leaf};
use random::Random;

use crate::product::{Attribute, Category, Offer, Product};

/// Models of one brand in one category.
const MODELS: usize = 8;
/// Ids of products begin after this one.
const FIRST_ID: i64 = 1_000_000;

/// What a product is, whatever its title says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Names of its categories from the root; the last is its own.
    pub categories: Vec<&'static str>,
    /// Its brand in Chinese.
    pub brand: &'static str,
    /// Its brand in Latin letters.
    pub latin: &'static str,
    /// Its model, where its category has any.
    pub model: Option<String>,
    /// Its colours.
    pub colours: Vec<&'static str>,
    /// Values of its other attributes.
    pub values: Vec<&'static str>,
}

/// A product and what it is.
#[derive(Debug, Clone)]
pub struct Item {
    /// As it is indexed.
    pub product: Product,
    /// What it is.
    pub truth: Truth,
}

/// `count` products; the same for the same seed.
pub fn products(seed: u64, count: usize) -> Vec<Item> {
    let mut random = Random::new(seed);
    let models: Vec<Vec<Vec<Option<String>>>> = LEAVES
        .iter()
        .map(|leaf| {
            let of_brand = |_: &Brand| (0..MODELS).map(|_| catalogue::model(leaf.style, &mut random)).collect();
            leaf.brands.iter().map(of_brand).collect()
        })
        .collect();
    let mut item = |at: usize| {
        let leaf_at = random.below(LEAVES.len());
        let leaf = &LEAVES[leaf_at];
        let brand = random.below(leaf.brands.len());
        let model = models[leaf_at][brand][random.below(MODELS)].clone();
        item(at, leaf_at, &leaf.brands[brand], model, &mut random)
    };
    (0..count).map(&mut item).collect()
}

fn item(at: usize, leaf_at: usize, brand: &Brand, model: Option<String>, random: &mut Random) -> Item {
    let leaf = &LEAVES[leaf_at];
    let mut colours = leaf.colours.clone();
    random.shuffle(&mut colours);
    colours.truncate(if random.chance(25) { 2 } else { 1 });
    let chosen: Vec<(&str, &str)> =
        leaf.attributes.iter().map(|(name, values)| (*name, random.pick(values.as_slice()))).collect();
    let truth = Truth {
        categories: leaf.path.clone(),
        brand: brand.chinese,
        latin: brand.latin,
        model,
        colours,
        values: chosen.iter().map(|(_, value)| *value).collect(),
    };
    let attributes = truth.colours.iter().map(|colour| ("颜色", *colour)).chain(chosen.iter().copied());
    let attributes = attributes.map(|(name, value)| Attribute { name: name.to_owned(), value: value.to_owned() });
    let price = random.range(900..500_000);
    let id = FIRST_ID + i64::try_from(at).unwrap_or(0);
    let product = Product {
        id: ProductId::from_i64(id).unwrap_or_else(|| unreachable!("the id is above zero")),
        version: 1,
        title: title(leaf, &truth, random),
        subtitle: subtitle(leaf, random),
        categories: categories(leaf_at),
        attributes: attributes.collect(),
        offers: offers(price, truth.colours.len(), random.chance(90)),
        sales: if random.chance(60) { random.range(0..5_000).unsigned_abs() } else { 0 },
        created_at_ms: 1_700_000_000_000 + random.range(0..50_000_000_000).unsigned_abs(),
    };
    Item { product, truth }
}

/// SKUs that cost a little more each.
fn offers(price: i64, skus: usize, in_stock: bool) -> Vec<Offer> {
    let prices = (0..).step_by(1_000).map(|more| Cents::new(price + more)).take(skus);
    prices.map(|price_cents| Offer { price_cents, in_stock }).collect()
}

fn title(leaf: &Leaf, truth: &Truth, random: &mut Random) -> String {
    let (chinese, latin) = (truth.brand, truth.latin);
    let brand = match random.below(10) {
        0..=3 => chinese.to_owned(),
        4..=5 => format!("{chinese}（{latin}）"),
        6..=7 => format!("{chinese} {latin}"),
        8 => format!("{latin} {chinese}"),
        _ => latin.to_owned(),
    };
    let model =
        truth.model.as_ref().map(|model| if random.chance(20) { model.replace([' ', '-'], "") } else { model.clone() });
    let noun = random.pick(leaf.nouns.as_slice()).to_owned();
    let mut details: Vec<String> =
        truth.values.iter().filter(|_| random.chance(60)).map(|&value| value.to_owned()).collect();
    if random.chance(60) {
        details.extend(truth.colours.first().map(|&colour| colour.to_owned()));
    }
    details.extend((0..1 + random.below(2)).map(|_| random.pick(leaf.points.as_slice()).to_owned()));
    random.shuffle(&mut details);
    let mut parts = vec![brand];
    parts.extend(model);
    if random.chance(70) {
        parts.push(noun);
        parts.extend(details);
    } else {
        parts.extend(details);
        parts.push(noun);
    }
    let gap = if random.chance(75) { " " } else { "" };
    let start = if random.chance(10) { "【新品】" } else { "" };
    format!("{start}{}", parts.join(gap))
}

fn subtitle(leaf: &Leaf, random: &mut Random) -> String {
    const PROMISES: [&str; 6] = ["限时优惠", "顺丰包邮", "七天无理由退换", "下单立减", "官方正品", "晒单有礼"];
    if random.chance(20) {
        return String::new();
    }
    format!("{} {}", random.pick(&PROMISES), random.pick(leaf.points.as_slice()))
}

/// Ids are those of the tree, the same for every seed.
fn categories(leaf_at: usize) -> Vec<Category> {
    let mut names: Vec<String> = Vec::new();
    for leaf in LEAVES.iter() {
        for depth in 1..=leaf.path.len() {
            let name = leaf.path[..depth].join("/");
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let path = &LEAVES[leaf_at].path;
    let category = |depth: usize| {
        let at = names.iter().position(|name| *name == path[..depth].join("/"))?;
        let id = CategoryId::from_i64(i64::try_from(at).ok()? + 1)?;
        Some(Category { id, name: path[depth - 1].to_owned() })
    };
    (1..=path.len()).filter_map(category).collect()
}
