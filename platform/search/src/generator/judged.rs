//! Queries, and which products they mean.

use std::collections::HashSet;

use contract::ids::ProductId;

use super::{
    Item, Truth,
    catalogue::{LEAVES, Leaf},
    random::Random,
};

/// Hits that are looked at.
const TOP: usize = 10;
/// Tries to find a query that means any product.
const TRIES_MAX: usize = 200;

/// What a query tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The name of what is sold.
    Word,
    /// A part of it.
    Partial,
    /// Two words with a space between them.
    TwoWords,
    /// Several words without spaces: they must be segmented.
    Segment,
    /// A brand in Chinese.
    Brand,
    /// A model, with or without its signs.
    Model,
    /// A category above.
    Category,
    /// A brand in Latin letters.
    Latin,
    /// The beginning of one.
    Prefix,
    /// One with a typo.
    Typo,
    /// Chinese in Latin letters, all or the first of each character.
    Pinyin,
    /// An attribute's value with the name of what is sold.
    Value,
}

/// What somebody wants; every condition that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Want {
    /// One of the product's categories.
    pub category: Option<String>,
    /// Text that the name of its own category contains.
    pub category_part: Option<String>,
    /// Its brand in Chinese.
    pub brand: Option<String>,
    /// How its brand in Latin letters begins, in lower case.
    pub latin_start: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// One of its colours.
    pub colour: Option<String>,
    /// One of its other values.
    pub value: Option<String>,
}

impl Want {
    /// Whether a product is wanted.
    pub fn means(&self, truth: &Truth) -> bool {
        let is = |want: &Option<String>, has: &dyn Fn(&str) -> bool| want.as_deref().is_none_or(has);
        is(&self.category, &|name| truth.categories.contains(&name))
            && is(&self.category_part, &|part| truth.categories.last().is_some_and(|own| own.contains(part)))
            && is(&self.brand, &|brand| truth.brand == brand)
            && is(&self.latin_start, &|start| truth.latin.to_lowercase().starts_with(start))
            && is(&self.model, &|model| truth.model.as_deref() == Some(model))
            && is(&self.colour, &|colour| truth.colours.contains(&colour))
            && is(&self.value, &|value| truth.values.contains(&value))
    }
}

/// A query and what is meant by it.
#[derive(Debug, Clone)]
pub struct Query {
    /// What is typed.
    pub text: String,
    /// What it tries.
    pub kind: Kind,
    /// What it means.
    pub want: Want,
}

/// How well hits fit a query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// One over the place of the first wanted hit among the first ten, or 0.
    pub reciprocal_rank: f64,
    /// Wanted hits among the first ten, of as many as there could be.
    pub recall: f64,
}

/// Judges the hits of a query.
#[expect(clippy::cast_precision_loss, reason = "counts up to ten")]
pub fn quality(query: &Query, items: &[Item], hits: &[ProductId]) -> Quality {
    let wanted = items.iter().filter(|item| query.want.means(&item.truth)).map(|item| item.product.id);
    let wanted: HashSet<ProductId> = wanted.collect();
    let top = &hits[..hits.len().min(TOP)];
    let first = top.iter().position(|id| wanted.contains(id));
    let found = top.iter().filter(|id| wanted.contains(id)).count();
    Quality {
        reciprocal_rank: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
        recall: found as f64 / wanted.len().clamp(1, TOP) as f64,
    }
}

/// Names and how they are typed in Latin letters, as a person knows it.
const PINYIN: [(&str, &str); 24] = [
    ("手机", "shouji"),
    ("充电宝", "chongdianbao"),
    ("数据线", "shujuxian"),
    ("音箱", "yinxiang"),
    ("显卡", "xianka"),
    ("鼠标", "shubiao"),
    ("打印机", "dayinji"),
    ("冰箱", "bingxiang"),
    ("洗衣机", "xiyiji"),
    ("电饭煲", "dianfanbao"),
    ("吹风机", "chuifengji"),
    ("连衣裙", "lianyiqun"),
    ("羽绒服", "yurongfu"),
    ("双肩包", "shuangjianbao"),
    ("口红", "kouhong"),
    ("面膜", "mianmo"),
    ("洗发水", "xifashui"),
    ("绿茶", "lvcha"),
    ("白酒", "baijiu"),
    ("坚果", "jianguo"),
    ("保温杯", "baowenbei"),
    ("瑜伽垫", "yujiadian"),
    ("帐篷", "zhangpeng"),
    ("积木", "jimu"),
];

const PINYIN_BRANDS: [(&str, &str); 12] = [
    ("联想", "lianxiang"),
    ("罗技", "luoji"),
    ("佳能", "jianeng"),
    ("飞利浦", "feilipu"),
    ("苏泊尔", "suboer"),
    ("戴森", "daisen"),
    ("索尼", "suoni"),
    ("茅台", "maotai"),
    ("安踏", "anta"),
    ("三星", "sanxing"),
    ("西门子", "ximenzi"),
    ("松下", "songxia"),
];

/// 134 queries over `items`, each of which means at least one of them.
pub fn queries(seed: u64, items: &[Item]) -> Vec<Query> {
    let mut asked = Asked { random: Random::new(seed ^ 0x51_7c_c1_b7), items, queries: Vec::new() };
    asked.add(Kind::Word, 10, |random| {
        let leaf = leaf(random);
        (leaf.name().to_owned(), Want { category: Some(leaf.name().to_owned()), ..Want::default() })
    });
    asked.add(Kind::Partial, 8, partial);
    asked.add(Kind::TwoWords, 12, |random| two_words(random, " "));
    asked.add(Kind::Segment, 16, |random| two_words(random, ""));
    asked.add(Kind::Segment, 8, |random| {
        let leaf = leaf(random);
        let (brand, colour) = (leaf.brands[random.below(leaf.brands.len())].chinese, random.pick(&leaf.colours));
        let want = Want { colour: Some(colour.to_owned()), ..brand_and_leaf(brand, leaf) };
        (format!("{brand}{colour}{}", leaf.name()), want)
    });
    asked.add(Kind::Brand, 8, |random| {
        let brand = item(random, items).truth.brand;
        (brand.to_owned(), Want { brand: Some(brand.to_owned()), ..Want::default() })
    });
    asked.add(Kind::Model, 10, |random| model(random, items));
    asked.add(Kind::Category, 8, |random| {
        let leaf = leaf(random);
        let name = leaf.path[random.below(leaf.path.len() - 1)];
        (name.to_owned(), Want { category: Some(name.to_owned()), ..Want::default() })
    });
    asked.add(Kind::Latin, 8, |random| {
        let truth = &item(random, items).truth;
        let text = if random.chance(50) { truth.latin.to_lowercase() } else { truth.latin.to_owned() };
        (text, Want { brand: Some(truth.brand.to_owned()), ..Want::default() })
    });
    asked.add(Kind::Prefix, 8, |random| prefix(random, items));
    asked.add(Kind::Typo, 14, |random| typo(random, items));
    asked.add(Kind::Pinyin, 6, |random| pinyin(random, false));
    asked.add(Kind::Pinyin, 4, |random| {
        let (brand, text) = PINYIN_BRANDS[random.below(PINYIN_BRANDS.len())];
        (text.to_owned(), Want { brand: Some(brand.to_owned()), ..Want::default() })
    });
    asked.add(Kind::Pinyin, 4, pinyin_of_both);
    asked.add(Kind::Pinyin, 4, |random| pinyin(random, true));
    asked.add(Kind::Value, 6, |random| {
        let leaf = leaf(random);
        let values = &leaf.attributes[random.below(leaf.attributes.len())].1;
        let value = random.pick(values.as_slice());
        let category = Some(leaf.name().to_owned());
        let gap = if random.chance(50) { " " } else { "" };
        (format!("{value}{gap}{}", leaf.name()), Want { category, value: Some(value.to_owned()), ..Want::default() })
    });
    asked.queries
}

struct Asked<'a> {
    random: Random,
    items: &'a [Item],
    queries: Vec<Query>,
}

impl Asked<'_> {
    fn add(&mut self, kind: Kind, count: usize, make: impl Fn(&mut Random) -> (String, Want)) {
        let (end, mut tries) = (self.queries.len() + count, 0);
        while self.queries.len() < end && tries < TRIES_MAX {
            tries += 1;
            let (text, want) = make(&mut self.random);
            let is_new = !text.is_empty() && self.queries.iter().all(|query| query.text != text);
            if is_new && self.items.iter().any(|item| want.means(&item.truth)) {
                self.queries.push(Query { text, kind, want });
            }
        }
    }
}

fn leaf(random: &mut Random) -> &'static Leaf {
    &LEAVES[random.below(LEAVES.len())]
}

fn item<'a>(random: &mut Random, items: &'a [Item]) -> &'a Item {
    &items[random.below(items.len())]
}

fn brand_and_leaf(brand: &str, leaf: &Leaf) -> Want {
    Want { category: Some(leaf.name().to_owned()), brand: Some(brand.to_owned()), ..Want::default() }
}

/// The name of what is sold without its first or its last characters.
fn partial(random: &mut Random) -> (String, Want) {
    let name: Vec<char> = leaf(random).name().chars().collect();
    if name.len() < 4 {
        return (String::new(), Want::default());
    }
    let cut = 1 + random.below(name.len() - 2);
    let part: String =
        if random.chance(50) { name[cut..].iter().collect() } else { name[..name.len() - cut].iter().collect() };
    (part.clone(), Want { category_part: Some(part), ..Want::default() })
}

fn two_words(random: &mut Random, gap: &str) -> (String, Want) {
    let leaf = leaf(random);
    if random.chance(50) {
        let brand = leaf.brands[random.below(leaf.brands.len())].chinese;
        return (format!("{brand}{gap}{}", leaf.name()), brand_and_leaf(brand, leaf));
    }
    let colour = random.pick(leaf.colours.as_slice());
    let want = Want { category: Some(leaf.name().to_owned()), colour: Some(colour.to_owned()), ..Want::default() };
    (format!("{colour}{gap}{}", leaf.name()), want)
}

fn model(random: &mut Random, items: &[Item]) -> (String, Want) {
    let Some(model) = item(random, items).truth.model.clone() else { return (String::new(), Want::default()) };
    let text = match random.below(4) {
        0 => model.to_lowercase(),
        1 => model.replace([' ', '-'], ""),
        2 => model.replace('-', " "),
        _ => model.clone(),
    };
    (text, Want { model: Some(model), ..Want::default() })
}

fn prefix(random: &mut Random, items: &[Item]) -> (String, Want) {
    let latin = item(random, items).truth.latin.to_lowercase();
    if latin.len() < 6 || !latin.is_ascii() {
        return (String::new(), Want::default());
    }
    let start = latin[..4 + random.below(latin.len() - 5)].to_owned();
    (start.clone(), Want { latin_start: Some(start), ..Want::default() })
}

/// One letter left out, doubled, another, or swapped with its neighbour; the first letter is right.
fn typo(random: &mut Random, items: &[Item]) -> (String, Want) {
    let truth = &item(random, items).truth;
    let mut letters: Vec<char> = truth.latin.to_lowercase().chars().collect();
    if letters.len() < 6 || !truth.latin.is_ascii() {
        return (String::new(), Want::default());
    }
    let at = 1 + random.below(letters.len() - 2);
    match random.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = if letters[at] == 'e' { 'a' } else { 'e' },
        _ => letters.swap(at, at + 1),
    }
    let text: String = letters.into_iter().collect();
    let is_brand = LEAVES.iter().flat_map(|leaf| &leaf.brands).any(|brand| brand.latin.to_lowercase() == text);
    let text = if is_brand { String::new() } else { text };
    (text, Want { brand: Some(truth.brand.to_owned()), ..Want::default() })
}

fn pinyin(random: &mut Random, initials: bool) -> (String, Want) {
    let (name, full) = PINYIN[random.below(PINYIN.len())];
    let want = Want { category: Some(name.to_owned()), ..Want::default() };
    if !initials {
        return (full.to_owned(), want);
    }
    // Two letters are the first of many words.
    let letters = crate::text::initials(name).filter(|letters| letters.len() > 2);
    (letters.unwrap_or_default(), want)
}

fn pinyin_of_both(random: &mut Random) -> (String, Want) {
    let (brand, brand_text) = PINYIN_BRANDS[random.below(PINYIN_BRANDS.len())];
    let (name, text) = PINYIN[random.below(PINYIN.len())];
    let gap = if random.chance(50) { " " } else { "" };
    let want = Want { category: Some(name.to_owned()), brand: Some(brand.to_owned()), ..Want::default() };
    (format!("{brand_text}{gap}{text}"), want)
}
