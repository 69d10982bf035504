//! The words of a product, by field, and what ranks it whatever is searched for.

use crate::{
    plan::Field,
    product::Product,
    text::{Analyzer, Form, FormKind, forms},
};

/// Separates two texts in a field of units, so that no phrase reaches from one into the other.
pub(crate) const BOUNDARY: &str = "|";

/// Units of the longest title that is no longer than it needs to be.
const SHORT_TITLE_UNITS: u32 = 8;

/// For each field of [`Field::ALL`], its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    fields: [Vec<String>; Field::ALL.len()],
    /// What it is ranked by besides the words that were searched for, in 64ths.
    pub rank: u32,
}

/// Words at the beginning of a title, where most titles have the brand.
const START_WORDS: usize = 2;

/// Where a text is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Title,
    Subtitle,
    Category,
    Ancestor,
    AttributeName,
    AttributeValue,
}

impl Document {
    pub(crate) fn new(analyzer: &Analyzer, product: &Product) -> Self {
        let mut document = Self { fields: Default::default(), rank: 0 };
        let title = forms(analyzer, &product.title);
        start(&title).for_each(|word| document.push(Field::Start, word));
        document.add(Source::Title, title);
        let title_units = document.words(Field::Unit).len();
        document.add(Source::Subtitle, forms(analyzer, &product.subtitle));
        for (above, category) in product.categories.iter().rev().enumerate() {
            let source = if above == 0 { Source::Category } else { Source::Ancestor };
            document.add(source, forms(analyzer, &category.name));
        }
        for attribute in &product.attributes {
            document.add(Source::AttributeName, forms(analyzer, &attribute.name));
            document.add(Source::AttributeValue, forms(analyzer, &attribute.value));
        }
        for (field, words) in Field::ALL.into_iter().zip(&mut document.fields) {
            if !is_sequence(field) {
                words.sort_unstable();
                words.dedup();
            }
        }
        document.rank = rank(title_units, product);
        document
    }

    pub(crate) fn words(&self, field: Field) -> &[String] {
        let at = Field::ALL.iter().position(|other| *other == field);
        at.map_or(&[], |at| self.fields[at].as_slice())
    }

    fn push(&mut self, field: Field, word: String) {
        if let Some(at) = Field::ALL.iter().position(|other| *other == field) {
            self.fields[at].push(word);
        }
    }

    fn add(&mut self, source: Source, forms: Vec<Form>) {
        let has_sequence = !matches!(source, Source::AttributeName | Source::Ancestor) && !forms.is_empty();
        for form in forms {
            if let Some(field) = field_of(source, form.kind) {
                self.push(field, form.text);
            }
        }
        if has_sequence {
            for field in Field::ALL.into_iter().filter(|field| is_sequence(*field)) {
                self.push(field, BOUNDARY.to_owned());
            }
        }
    }
}

/// The first words of a title, with the words that these consist of.
fn start(title: &[Form]) -> impl Iterator<Item = String> {
    let words = title.iter().filter(|form| form.kind == FormKind::Word);
    let (mut count, mut end) = (0, 0);
    let is_start = move |word: &&Form| {
        if word.span.start >= end {
            count += 1;
            end = word.span.end;
        }
        count <= START_WORDS
    };
    words.take_while(is_start).map(|word| word.text.clone())
}

/// Whether the order of the words matters.
pub(crate) const fn is_sequence(field: Field) -> bool {
    matches!(field, Field::Unit | Field::Syllable | Field::Letter)
}

/// Where a form goes; `None` where it would find too much.
const fn field_of(source: Source, kind: FormKind) -> Option<Field> {
    match (source, kind) {
        (Source::AttributeName, FormKind::Word | FormKind::Part) => Some(Field::DetailPart),
        // What is above a category is too much to be found by a part of a word.
        (Source::AttributeName, _)
        | (
            Source::Ancestor,
            FormKind::Unit | FormKind::Syllable | FormKind::Letter | FormKind::Pinyin | FormKind::Initials,
        ) => None,
        (_, FormKind::Unit) => Some(Field::Unit),
        (_, FormKind::Syllable) => Some(Field::Syllable),
        (_, FormKind::Letter) => Some(Field::Letter),
        (Source::Title, FormKind::Word) => Some(Field::Title),
        (Source::Title, FormKind::Part) => Some(Field::TitlePart),
        (Source::Category, FormKind::Word) => Some(Field::Category),
        (Source::Category, FormKind::Part) | (Source::Ancestor, FormKind::Word | FormKind::Part) => {
            Some(Field::CategoryPart)
        }
        (Source::Subtitle | Source::AttributeValue, FormKind::Word) => Some(Field::Detail),
        (Source::Subtitle | Source::AttributeValue, FormKind::Part) => Some(Field::DetailPart),
        (Source::Category | Source::Ancestor | Source::AttributeValue, FormKind::Whole) => Some(Field::Value),
        (Source::Title | Source::Subtitle, FormKind::Whole) => None,
        (Source::Subtitle, FormKind::Pinyin | FormKind::Initials) => None,
        (_, FormKind::Pinyin) => Some(Field::Pinyin),
        (_, FormKind::Initials) => Some(Field::Initials),
    }
}

/// A short title says what it is about; what is bought and what can be bought comes first. All of it counts less than a word
/// that matches.
fn rank(title_units: usize, product: &Product) -> u32 {
    let units = u32::try_from(title_units).unwrap_or(u32::MAX).max(1);
    let title = 128 * SHORT_TITLE_UNITS / SHORT_TITLE_UNITS.saturating_add(units);
    title + rank_of(product.sales) + if product.in_stock() { 16 } else { 0 }
}

/// The part of a rank that comes from sales.
pub(crate) fn rank_of(sales: u64) -> u32 {
    sales.saturating_add(1).ilog2().min(16) * 2
}

/// The rank as what is added to a score.
#[expect(clippy::cast_precision_loss, reason = "a rank is below 2^24")]
pub(crate) const fn rank_score(rank: u32) -> f32 {
    rank as f32 / 64.0
}

/// A score in 64ths, from the engine's arithmetic.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are sums of 64ths below 2^24")]
pub(crate) fn whole_score(score: f64) -> u32 {
    (score * 64.0).round().max(0.0) as u32
}
