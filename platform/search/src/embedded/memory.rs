//! The index that is searched: words, and what products are sorted and filtered by, in memory.
//!
//! Products are numbered in the order in which they are written, and a new version of one gets a new number; the old number is
//! dead until [`Memory::compacted`] leaves it out.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::postings::Postings;
use crate::{
    document::{BOUNDARY, Document},
    plan::Field,
    product::Product,
};

/// Dead numbers that are not worth a compaction.
const DEAD_MIN: usize = 1_000;
/// Live numbers for each dead one, at least.
const LIVE_PER_DEAD: usize = 3;

/// What a product is sorted and filtered by.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub id: i64,
    pub version: i64,
    pub is_live: bool,
    pub in_stock: bool,
    /// In 64ths of a point.
    pub rank: u32,
    pub price: i64,
    pub sales: i64,
    pub created_at_ms: i64,
    prices: (u32, u16),
    categories: (u32, u16),
    units: (u32, u32),
}

/// The words of one field.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    numbers: BTreeMap<Box<str>, u32>,
    postings: Vec<Postings>,
}

impl Words {
    pub(super) fn get(&self, word: &str) -> Option<&Postings> {
        self.numbers.get(word).map(|number| &self.postings[*number as usize])
    }

    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn postings(&self, number: u32) -> &Postings {
        &self.postings[number as usize]
    }

    /// Words from `first` on, in the order of their bytes.
    pub(super) fn from<'a>(&'a self, first: &str) -> impl Iterator<Item = (&'a str, &'a Postings)> {
        let range = self.numbers.range::<str, _>((std::ops::Bound::Included(first), std::ops::Bound::Unbounded));
        range.map(|(word, number)| (word.as_ref(), &self.postings[*number as usize]))
    }

    fn add(&mut self, word: &str, product: u32) -> u32 {
        let number = match self.numbers.get(word) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.postings.len()).unwrap_or(u32::MAX);
                self.numbers.insert(word.into(), number);
                self.postings.push(Postings::default());
                number
            }
        };
        self.postings[number as usize].push(product);
        number
    }

    fn memory_bytes(&self) -> usize {
        let words: usize = self.numbers.keys().map(|word| word.len() + 40).sum();
        let postings: usize = self.postings.iter().map(|postings| postings.memory_bytes() + 48).sum();
        words + postings
    }
}

/// How units sound: their syllables, or the first letters of these.
#[derive(Debug, Clone, Default)]
struct Sounds {
    /// A number for each sound.
    numbers: BTreeMap<Box<str>, u32>,
    /// By the number of a sound, the units that sound so.
    units: Vec<Vec<u32>>,
    /// By the number of a unit, that of its sound; [`SILENT`] where it has none.
    of_units: Vec<u32>,
}

/// No sound.
const SILENT: u32 = u32::MAX;

impl Sounds {
    fn add(&mut self, unit: u32, sound: &str) {
        let number = self.numbers.get(sound).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.units.len()).unwrap_or(SILENT);
            self.numbers.insert(sound.into(), number);
            self.units.push(Vec::new());
            number
        });
        self.units[number as usize].push(unit);
        let at = unit as usize;
        self.of_units.resize(self.of_units.len().max(at + 1), SILENT);
        self.of_units[at] = number;
    }

    fn renumbered(&self, numbers: &[Option<u32>]) -> Self {
        let mut renumbered = Self::default();
        for (sound, number) in &self.numbers {
            for unit in self.units[*number as usize].iter().filter_map(|unit| numbers[*unit as usize]) {
                renumbered.add(unit, sound);
            }
        }
        renumbered
    }
}

/// What a word of a phrase stands for.
pub(super) struct Allowed {
    /// Units, for finding products that have any of them.
    pub units: Vec<u32>,
    /// In ascending order, what [`Memory::sound`] of such a unit is.
    pub sounds: Vec<u32>,
}

#[derive(Clone, Default)]
pub(super) struct Memory {
    rows: Vec<Row>,
    by_id: FxHashMap<i64, u32>,
    /// Versions of removed products.
    removed: FxHashMap<i64, i64>,
    dead: usize,
    fields: [Words; Field::ALL.len()],
    syllables: Sounds,
    letters: Sounds,
    /// The units of every product, one after the other.
    units: Vec<u32>,
    prices: Vec<i64>,
    categories: Vec<i64>,
}

impl Memory {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn words(&self, field: Field) -> &Words {
        &self.fields[place(field)]
    }

    pub(super) fn live(&self) -> usize {
        self.rows.len() - self.dead
    }

    pub(super) fn removed(&self) -> usize {
        self.removed.len()
    }

    /// The version of a product, removed or not.
    pub(super) fn version(&self, id: i64) -> Option<i64> {
        let live = self.by_id.get(&id).map(|number| self.rows[*number as usize].version);
        live.or_else(|| self.removed.get(&id).copied())
    }

    pub(super) fn prices(&self, row: &Row) -> &[i64] {
        let (start, count) = (row.prices.0 as usize, usize::from(row.prices.1));
        &self.prices[start..start + count]
    }

    pub(super) fn categories(&self, row: &Row) -> &[i64] {
        let (start, count) = (row.categories.0 as usize, usize::from(row.categories.1));
        &self.categories[start..start + count]
    }

    pub(super) fn units(&self, product: u32) -> &[u32] {
        let (start, count) = self.rows[product as usize].units;
        &self.units[start as usize..(start + count) as usize]
    }

    /// What a word of a sequence stands for; with all words that begin so where `is_open`.
    pub(super) fn allowed(&self, field: Field, word: &str, is_open: bool) -> Allowed {
        let Some(sounds) = self.sounds(field) else {
            let units: Vec<u32> = self.words(Field::Unit).number(word).into_iter().collect();
            return Allowed { sounds: units.clone(), units };
        };
        let mut numbers: Vec<u32> = if is_open {
            let from = sounds.numbers.range::<str, _>((std::ops::Bound::Included(word), std::ops::Bound::Unbounded));
            from.take_while(|(other, _)| other.starts_with(word)).map(|(_, number)| *number).collect()
        } else {
            sounds.numbers.get(word).copied().into_iter().collect()
        };
        numbers.sort_unstable();
        let units = numbers.iter().flat_map(|number| &sounds.units[*number as usize]).copied().collect();
        Allowed { units, sounds: numbers }
    }

    /// What units are compared by in phrases of a field: by the number of a unit; `None` where it is the unit itself.
    pub(super) fn sound(&self, field: Field) -> Option<&[u32]> {
        self.sounds(field).map(|sounds| sounds.of_units.as_slice())
    }

    fn sounds(&self, field: Field) -> Option<&Sounds> {
        match field {
            Field::Syllable => Some(&self.syllables),
            Field::Letter => Some(&self.letters),
            Field::Unit
            | Field::Title
            | Field::Start
            | Field::TitlePart
            | Field::Category
            | Field::CategoryPart
            | Field::Detail
            | Field::DetailPart
            | Field::Value
            | Field::Pinyin
            | Field::Initials => None,
        }
    }

    pub(super) fn put(&mut self, product: &Product, document: &Document) {
        let id = product.id.as_i64();
        self.bury(id);
        self.removed.remove(&id);
        let number = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        assert!(number < u32::MAX, "more products than numbers");
        let units = self.add_units(document, number);
        for field in Field::ALL.into_iter().filter(|field| !crate::document::is_sequence(*field)) {
            for word in document.words(field) {
                self.fields[place(field)].add(word, number);
            }
        }
        let prices = append(&mut self.prices, product.prices_cents.iter().map(|price| price.get()));
        let categories = append(&mut self.categories, product.categories.iter().map(|category| category.id.as_i64()));
        self.rows.push(Row {
            id,
            version: product.version,
            is_live: true,
            in_stock: product.in_stock,
            rank: document.rank,
            price: product.price_cents().get(),
            sales: i64::try_from(product.sales).unwrap_or(i64::MAX),
            created_at_ms: i64::try_from(product.created_at_ms).unwrap_or(i64::MAX),
            prices,
            categories,
            units,
        });
        self.by_id.insert(id, number);
    }

    fn add_units(&mut self, document: &Document, number: u32) -> (u32, u32) {
        let start = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        let sequences = document.words(Field::Syllable).iter().zip(document.words(Field::Letter));
        for (unit, (syllable, letter)) in document.words(Field::Unit).iter().zip(sequences) {
            let words = &mut self.fields[place(Field::Unit)];
            let known = words.postings.len();
            let unit_number = words.add(unit, number);
            if unit_number as usize == known && unit != BOUNDARY {
                self.syllables.add(unit_number, syllable);
                self.letters.add(unit_number, letter);
            }
            self.units.push(unit_number);
        }
        let end = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        (start, end - start)
    }

    pub(super) fn remove(&mut self, id: i64, version: i64) {
        self.bury(id);
        self.removed.insert(id, version);
    }

    /// Sets sales, and in the rank the part that comes from them.
    pub(super) fn set_sales(&mut self, id: i64, rank_before: u32, sales: u64, rank: u32) {
        if let Some(number) = self.by_id.get(&id) {
            let row = &mut self.rows[*number as usize];
            row.sales = i64::try_from(sales).unwrap_or(i64::MAX);
            row.rank = row.rank.saturating_sub(rank_before) + rank;
        }
    }

    fn bury(&mut self, id: i64) {
        if let Some(number) = self.by_id.remove(&id) {
            self.rows[number as usize].is_live = false;
            self.dead += 1;
        }
    }

    pub(super) fn needs_compaction(&self) -> bool {
        self.dead > DEAD_MIN && self.dead * LIVE_PER_DEAD > self.rows.len()
    }

    /// The same products without the dead numbers.
    pub(super) fn compacted(&self) -> Self {
        let mut compacted = Self { removed: self.removed.clone(), ..Self::default() };
        let mut renumbered = vec![None; self.rows.len()];
        for (old, row) in self.rows.iter().enumerate().filter(|(_, row)| row.is_live) {
            let number = u32::try_from(compacted.rows.len()).unwrap_or(u32::MAX);
            renumbered[old] = Some(number);
            let prices = append(&mut compacted.prices, self.prices(row).iter().copied());
            let categories = append(&mut compacted.categories, self.categories(row).iter().copied());
            compacted.by_id.insert(row.id, number);
            compacted.rows.push(Row { prices, categories, ..row.clone() });
        }
        let mut units = vec![None; self.words(Field::Unit).postings.len()];
        for (at, words) in self.fields.iter().enumerate() {
            for (word, number) in &words.numbers {
                let mut postings = Postings::default();
                let old = words.postings[*number as usize].iter();
                old.filter_map(|product| renumbered[product as usize]).for_each(|product| postings.push(product));
                if postings.is_empty() {
                    continue;
                }
                postings.shrink();
                let to = &mut compacted.fields[at];
                let new = u32::try_from(to.postings.len()).unwrap_or(u32::MAX);
                to.numbers.insert(word.clone(), new);
                to.postings.push(postings);
                if at == place(Field::Unit) {
                    units[*number as usize] = Some(new);
                }
            }
        }
        for (old, row) in self.rows.iter().enumerate().filter(|(_, row)| row.is_live) {
            let Some(new) = renumbered[old] else { continue };
            let start = u32::try_from(compacted.units.len()).unwrap_or(u32::MAX);
            let (from, count) = row.units;
            let old_units = &self.units[from as usize..(from + count) as usize];
            compacted.units.extend(old_units.iter().filter_map(|unit| units[*unit as usize]));
            compacted.rows[new as usize].units = (start, count);
        }
        compacted.syllables = self.syllables.renumbered(&units);
        compacted.letters = self.letters.renumbered(&units);
        compacted
    }

    /// Frees what vectors keep for more.
    pub(super) fn shrink(&mut self) {
        for words in &mut self.fields {
            words.postings.iter_mut().for_each(Postings::shrink);
            words.postings.shrink_to_fit();
        }
        self.rows.shrink_to_fit();
        self.units.shrink_to_fit();
        self.prices.shrink_to_fit();
        self.categories.shrink_to_fit();
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(Words::memory_bytes).sum();
        let numbers = (self.units.capacity() * 4) + (self.prices.capacity() + self.categories.capacity()) * 8;
        let ids = (self.by_id.capacity() + self.removed.capacity()) * 24;
        fields + numbers + ids + self.rows.capacity() * size_of::<Row>()
    }
}

fn append(to: &mut Vec<i64>, values: impl Iterator<Item = i64>) -> (u32, u16) {
    let start = to.len();
    to.extend(values);
    (u32::try_from(start).unwrap_or(u32::MAX), u16::try_from(to.len() - start).unwrap_or(u16::MAX))
}

fn place(field: Field) -> usize {
    Field::ALL.iter().position(|other| *other == field).unwrap_or(0)
}
