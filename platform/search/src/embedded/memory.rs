//! The index that is searched: words, and what products are sorted and filtered by, in memory.
//!
//! Products are numbered in the order in which they are written, and a new version of one gets a new number; the old number is
//! dead until [`Memory::compacted`] leaves it out.

use std::{collections::BTreeMap, ops::Bound};

use rustc_hash::FxHashMap;

use super::{phrase::Phrase, postings::Postings};
use crate::{
    document::{BOUNDARY, Document},
    plan::Field,
    product::{Offer, Product},
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
    /// In 64ths of a point.
    pub rank: u32,
    pub price: i64,
    pub sales: i64,
    pub created_at_ms: i64,
    /// The number of its categories, see [`Memory::paths`].
    pub path: u32,
    prices: (u32, u16),
    /// Prices of SKUs that are in stock: the first ones.
    prices_in_stock: u16,
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

    pub(super) const fn len(&self) -> usize {
        self.postings.len()
    }

    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn postings(&self, number: u32) -> &Postings {
        &self.postings[number as usize]
    }

    /// Words from `first` on, in the order of their bytes.
    pub(super) fn from<'a>(&'a self, first: &str) -> impl Iterator<Item = (&'a str, &'a Postings)> {
        let range = self.numbers.range::<str, _>((Bound::Included(first), Bound::Unbounded));
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

/// How units are pronounced.
#[derive(Debug, Clone, Default)]
struct Syllables {
    /// A number for each syllable.
    numbers: BTreeMap<Box<str>, u32>,
    /// By the number of a syllable, the units that are pronounced so.
    units: Vec<Vec<u32>>,
}

/// No letter.
const NO_LETTER: u8 = 0;

impl Syllables {
    fn add(&mut self, unit: u32, syllable: &str) {
        let number = self.numbers.get(syllable).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
            self.numbers.insert(syllable.into(), number);
            self.units.push(Vec::new());
            number
        });
        self.units[number as usize].push(unit);
    }

    fn renumbered(&self, numbers: &[Option<u32>]) -> Self {
        let mut renumbered = Self::default();
        for (syllable, number) in &self.numbers {
            for unit in self.units[*number as usize].iter().filter_map(|unit| numbers[*unit as usize]) {
                renumbered.add(unit, syllable);
            }
        }
        renumbered
    }
}

#[derive(Clone, Default)]
pub(super) struct Memory {
    rows: Vec<Row>,
    by_id: FxHashMap<i64, u32>,
    /// Versions of removed products.
    removed: FxHashMap<i64, i64>,
    dead: usize,
    fields: [Words; Field::ALL.len()],
    syllables: Syllables,
    /// The units of every product, one after the other.
    units: Vec<u32>,
    /// For each of these the first letter of its syllable; [`NO_LETTER`] where it has no single one.
    letters: Vec<u8>,
    /// By the place of a unit in `units`, the first byte of its syllable; [`NO_LETTER`] between texts.
    sounds: Vec<u8>,
    prices: Vec<i64>,
    paths: Vec<Box<[i64]>>,
    path_numbers: FxHashMap<Box<[i64]>, u32>,
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
        self.live_version(id).or_else(|| self.removed.get(&id).copied())
    }

    /// The version of a product that can be found.
    pub(super) fn live_version(&self, id: i64) -> Option<i64> {
        self.by_id.get(&id).map(|number| self.rows[*number as usize].version)
    }

    pub(super) fn prices(&self, row: &Row) -> &[i64] {
        let (start, count) = (row.prices.0 as usize, usize::from(row.prices.1));
        &self.prices[start..start + count]
    }

    /// The prices of SKUs that are in stock.
    pub(super) fn prices_in_stock(&self, row: &Row) -> &[i64] {
        &self.prices(row)[..usize::from(row.prices_in_stock)]
    }

    /// By number, categories from the root to that of some product.
    pub(super) fn paths(&self) -> &[Box<[i64]>] {
        &self.paths
    }

    fn path(&mut self, path: Box<[i64]>) -> u32 {
        if let Some(number) = self.path_numbers.get(&path) {
            return *number;
        }
        let number = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.push(path.clone());
        self.path_numbers.insert(path, number);
        number
    }

    pub(super) fn units(&self, product: u32) -> &[u32] {
        let (start, count) = self.rows[product as usize].units;
        &self.units[start as usize..(start + count) as usize]
    }

    /// The unit that a word is.
    pub(super) fn unit(&self, word: &str) -> Vec<u32> {
        self.words(Field::Unit).number(word).into_iter().collect()
    }

    /// The units that are pronounced as a word; as all words that begin so where `is_open`.
    pub(super) fn pronounced(&self, word: &str, is_open: bool) -> Vec<u32> {
        let Syllables { numbers, units } = &self.syllables;
        let from = numbers.range::<str, _>((Bound::Included(word), Bound::Unbounded));
        let begun = from.take_while(|(other, _)| if is_open { other.starts_with(word) } else { &***other == word });
        begun.flat_map(|(_, number)| &units[*number as usize]).copied().collect()
    }

    /// The products with units of which the syllables begin with these letters, each once.
    pub(super) fn with_letters(&self, letters: &[u8]) -> Vec<u32> {
        self.products_at(memchr::memmem::find_iter(&self.letters, letters))
    }

    /// The products with a phrase of which the syllables begin with these bytes, each once.
    pub(super) fn with_sounds(&self, sounds: &[u8], phrase: &Phrase<'_>) -> Vec<u32> {
        let places = memchr::memmem::find_iter(&self.sounds, sounds);
        self.products_at(places.filter(|place| phrase.begins(&self.units[*place..])))
    }

    /// Units of all products, and what is between their texts.
    pub(super) const fn units_count(&self) -> usize {
        self.units.len()
    }

    /// The products that have these places of `units`, which ascend. What is between two texts has no letter, so what was found lies
    /// in one product.
    fn products_at(&self, places: impl Iterator<Item = usize>) -> Vec<u32> {
        let mut products: Vec<u32> = Vec::new();
        let mut product = 0;
        for place in places {
            let begins = |row: &Row| row.units.0 as usize <= place;
            // The next place is most often in one of the next products.
            let mut step = 1;
            while self.rows.get(product + step).is_some_and(begins) {
                product += step;
                step *= 2;
            }
            let end = self.rows.len().min(product + step);
            product += self.rows[product + 1..end].partition_point(begins);
            let number = u32::try_from(product).unwrap_or(u32::MAX);
            if products.last() != Some(&number) {
                products.push(number);
            }
        }
        products
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
        let (in_stock, out_of_stock): (Vec<&Offer>, Vec<&Offer>) =
            product.offers.iter().partition(|offer| offer.in_stock);
        let offers = in_stock.iter().chain(&out_of_stock);
        let prices = append(&mut self.prices, offers.map(|offer| offer.price_cents.get()));
        let path = self.path(product.categories.iter().map(|category| category.id.as_i64()).collect());
        self.rows.push(Row {
            id,
            version: product.version,
            is_live: true,
            rank: document.rank,
            price: product.price_cents().get(),
            sales: i64::try_from(product.sales).unwrap_or(i64::MAX),
            created_at_ms: i64::try_from(product.created_at_ms).unwrap_or(i64::MAX),
            path,
            prices,
            prices_in_stock: u16::try_from(in_stock.len()).unwrap_or(u16::MAX),
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
            }
            self.units.push(unit_number);
            let sound = syllable.bytes().next().filter(|_| unit != BOUNDARY);
            self.sounds.push(sound.unwrap_or(NO_LETTER));
            self.letters.push(match letter.as_bytes() {
                [letter] if unit != BOUNDARY => *letter,
                _ => NO_LETTER,
            });
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
            let path = compacted.path(self.paths[row.path as usize].clone());
            compacted.by_id.insert(row.id, number);
            compacted.rows.push(Row { prices, path, ..row.clone() });
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
            let place = from as usize..(from + count) as usize;
            let old_units = &self.units[place.clone()];
            compacted.letters.extend_from_slice(&self.letters[place.clone()]);
            compacted.sounds.extend_from_slice(&self.sounds[place]);
            compacted.units.extend(old_units.iter().filter_map(|unit| units[*unit as usize]));
            compacted.rows[new as usize].units = (start, count);
        }
        compacted.syllables = self.syllables.renumbered(&units);
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
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(Words::memory_bytes).sum();
        let numbers = self.units.capacity() * 6 + self.prices.capacity() * 8;
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
