//! Which products fulfil a clause, and their scores.

use rustc_hash::FxHashMap;

use super::{
    memory::{Memory, Words},
    phrase::Phrase,
    postings::Postings,
};
use crate::{
    limits::{PREFIX_EXPANSIONS_MAX, TYPO_EXPANSIONS_MAX},
    plan::{Clause, Field, is_typo},
};

/// Letters and digits of ASCII: the only words that typos are looked for in.
const FIRST_ASCII_WORD: &str = "0";
const AFTER_ASCII_WORDS: &str = "{";

/// Units whose sounds are scanned in the time in which one product is looked through.
const SCANNED_PER_PRODUCT: u64 = 4_096;

/// Scores in 64ths of the products that fulfil a clause.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// By the product's number; zero where it does not fulfil the clause.
    values: Vec<u32>,
    /// The products whose score is or was not zero, each once, so that nothing has to be done for the others.
    touched: Vec<u32>,
}

impl Scores {
    /// Products and their scores, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.touched.iter().map(|product| (*product, self.values[*product as usize])).filter(|(_, score)| *score > 0)
    }

    fn has(&self, product: u32) -> bool {
        self.values[product as usize] > 0
    }

    /// At least `score`.
    fn raise(&mut self, product: u32, score: u32) {
        let value = &mut self.values[product as usize];
        if *value == 0 {
            self.touched.push(product);
        }
        *value = (*value).max(score);
    }

    fn add(&mut self, product: u32, score: u32) {
        let value = &mut self.values[product as usize];
        if *value == 0 {
            self.touched.push(product);
        }
        *value += score;
    }

    /// Keeps the products of both, with the sums of their scores.
    fn intersect(&mut self, other: &Self) {
        let values = &mut self.values;
        self.touched.retain(|product| {
            let at = *product as usize;
            let stays = other.values[at] > 0;
            values[at] = if stays { values[at] + other.values[at] } else { 0 };
            stays
        });
    }

    fn clear(&mut self) {
        for product in self.touched.drain(..) {
            self.values[product as usize] = 0;
        }
    }
}

pub(super) fn scores<'a>(memory: &'a Memory, clause: &'a Clause) -> Scores {
    let mut evaluation = Evaluation { memory, free: Vec::new(), mistyped: FxHashMap::default() };
    let mut scores = evaluation.buffer();
    evaluation.score(clause, None, &mut scores);
    scores
}

struct Evaluation<'a> {
    memory: &'a Memory,
    /// Buffers without scores.
    free: Vec<Scores>,
    /// What was found for each mistyped word, by field: the readings of a query ask for most words again.
    mistyped: FxHashMap<(Field, &'a str), Vec<&'a Postings>>,
}

impl<'a> Evaluation<'a> {
    fn buffer(&mut self) -> Scores {
        let new = || Scores { values: vec![0; self.memory.rows().len()], touched: Vec::new() };
        self.free.pop().unwrap_or_else(new)
    }

    fn give_back(&mut self, mut buffer: Scores) {
        buffer.clear();
        self.free.push(buffer);
    }

    /// Writes the scores of `clause` to `scores`, which has none. Products that are not among `candidates` may be left out.
    fn score(&mut self, clause: &'a Clause, candidates: Option<&Scores>, scores: &mut Scores) {
        match clause {
            Clause::Word { .. } | Clause::Prefix { .. } | Clause::Typo { .. } | Clause::Phrase { .. } => {
                self.leaf(clause, candidates, |product, weight| scores.raise(product, weight));
            }
            Clause::Best(clauses) => {
                for clause in clauses {
                    if let Clause::Phrase { field, words, is_open, weight } = clause {
                        let weight = weight.whole();
                        let found = self.phrase(*field, words, *is_open, |product| {
                            // What has as much already need not be looked through.
                            scores.values[*product as usize] < weight
                                && candidates.is_none_or(|others| others.has(*product))
                        });
                        found.into_iter().for_each(|product| scores.raise(product, weight));
                    } else if is_leaf(clause) {
                        self.leaf(clause, candidates, |product, weight| scores.raise(product, weight));
                    } else {
                        self.with(clause, candidates, |product, score| scores.raise(product, score));
                    }
                }
            }
            Clause::Any(clauses) => {
                for clause in clauses {
                    self.with(clause, candidates, |product, score| scores.add(product, score));
                }
            }
            Clause::All { must, should } => self.all(must, should, candidates, scores),
        }
    }

    /// Passes the scores of `clause` to `merge`, each product once.
    fn with(&mut self, clause: &'a Clause, candidates: Option<&Scores>, mut merge: impl FnMut(u32, u32)) {
        let mut buffer = self.buffer();
        self.score(clause, candidates, &mut buffer);
        buffer.iter().for_each(|(product, score)| merge(product, score));
        self.give_back(buffer);
    }

    fn all(&mut self, must: &'a [Clause], should: &'a [Clause], candidates: Option<&Scores>, scores: &mut Scores) {
        let Some((first, others)) = must.split_first() else { return };
        self.score(first, candidates, scores);
        for clause in others {
            if scores.touched.is_empty() {
                return;
            }
            let mut next = self.buffer();
            self.score(clause, Some(scores), &mut next);
            scores.intersect(&next);
            self.give_back(next);
        }
        for clause in should {
            let mut more = self.buffer();
            self.score(clause, Some(scores), &mut more);
            more.iter().for_each(|(product, score)| scores.add(product, score));
            self.give_back(more);
        }
    }

    /// Calls `found` with each of the candidates that fulfils a condition on words, perhaps more than once.
    fn leaf(&mut self, clause: &'a Clause, candidates: Option<&Scores>, mut found: impl FnMut(u32, u32)) {
        let is_candidate = |product: &u32| candidates.is_none_or(|candidates| candidates.has(*product));
        match clause {
            Clause::Word { field, word, weight } => {
                let products = self.memory.words(*field).get(word).into_iter().flat_map(Postings::iter);
                products.filter(is_candidate).for_each(|product| found(product, weight.whole()));
            }
            Clause::Prefix { field, prefix, weight } => {
                let words = self.memory.words(*field).from(prefix);
                let begun = words.take_while(|(word, _)| word.starts_with(prefix.as_str())).take(PREFIX_EXPANSIONS_MAX);
                let products = begun.flat_map(|(_, postings)| postings.iter());
                products.filter(is_candidate).for_each(|product| found(product, weight.whole()));
            }
            Clause::Typo { field, word, weight } => {
                let words = self.memory.words(*field);
                let near = self.mistyped.entry((*field, word)).or_insert_with(|| mistyped(words, word).collect());
                let products = near.iter().flat_map(|postings| postings.iter());
                products.filter(is_candidate).for_each(|product| found(product, weight.whole()));
            }
            Clause::Phrase { field, words, is_open, weight } => {
                let products = self.phrase(*field, words, *is_open, is_candidate);
                products.into_iter().for_each(|product| found(product, weight.whole()));
            }
            Clause::All { .. } | Clause::Any(_) | Clause::Best(_) => {}
        }
    }

    /// Products that have the words one after the other: those that have the rarest of them are looked through.
    fn phrase(&self, field: Field, words: &[String], is_open: bool, is_candidate: impl Fn(&u32) -> bool) -> Vec<u32> {
        if field == Field::Letter {
            let letters: Vec<u8> = words.concat().into_bytes();
            return self.memory.with_letters(&letters).into_iter().filter(is_candidate).collect();
        }
        let last = words.len().saturating_sub(1);
        let mut units: Vec<Vec<u32>> = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            units.push(if field == Field::Syllable {
                self.memory.pronounced(word, is_open && at == last)
            } else {
                self.memory.unit(word)
            });
            if units[at].is_empty() {
                return Vec::new();
            }
        }
        let dictionary = self.memory.words(Field::Unit);
        let products =
            |units: &&Vec<u32>| units.iter().map(|unit| u64::from(dictionary.postings(*unit).len())).sum::<u64>();
        let Some(rarest) = units.iter().min_by_key(products) else { return Vec::new() };
        let phrase = Phrase::new(&units, dictionary.len());
        if field == Field::Syllable && products(&rarest) > self.memory.units_count() as u64 / SCANNED_PER_PRODUCT {
            let sounds: Vec<u8> = words.iter().filter_map(|word| word.bytes().next()).collect();
            return self.memory.with_sounds(&sounds, &phrase).into_iter().filter(is_candidate).collect();
        }
        let candidates = rarest.iter().flat_map(|unit| dictionary.postings(*unit).iter());
        let has_phrase = |product: &u32| phrase.is_in(self.memory.units(*product));
        // A product that has several of these units is looked through once.
        let mut looked_through = Numbers::new(if rarest.len() > 1 { self.memory.rows().len() } else { 0 });
        let is_new = |product: &u32| rarest.len() == 1 || looked_through.insert(*product);
        candidates.filter(is_candidate).filter(is_new).filter(has_phrase).collect()
    }
}

/// A set of products' numbers.
struct Numbers(Vec<u64>);

impl Numbers {
    /// None of the numbers below `end`.
    fn new(end: usize) -> Self {
        Self(vec![0; end.div_ceil(64)])
    }

    /// Whether it was not there before.
    fn insert(&mut self, number: u32) -> bool {
        let (place, bit) = (number as usize / 64, 1 << (number % 64));
        let is_new = self.0[place] & bit == 0;
        self.0[place] |= bit;
        is_new
    }
}

const fn is_leaf(clause: &Clause) -> bool {
    match clause {
        Clause::Word { .. } | Clause::Prefix { .. } | Clause::Typo { .. } | Clause::Phrase { .. } => true,
        Clause::All { .. } | Clause::Any(_) | Clause::Best(_) => false,
    }
}

fn mistyped<'a>(words: &'a Words, word: &str) -> impl Iterator<Item = &'a Postings> {
    let ascii = words.from(FIRST_ASCII_WORD).take_while(|(other, _)| *other < AFTER_ASCII_WORDS);
    let near = ascii.filter(|(other, _)| is_typo(word.as_bytes(), other.as_bytes()));
    near.take(TYPO_EXPANSIONS_MAX).map(|(_, postings)| postings)
}
