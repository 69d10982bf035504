//! Which products fulfil a clause, and their scores.

use super::memory::{Memory, Words};
use crate::{
    limits::{PREFIX_EXPANSIONS_MAX, TYPO_EXPANSIONS_MAX},
    plan::{Clause, Field, is_typo},
};

/// Letters and digits of ASCII: the only words that typos are looked for in.
const FIRST_ASCII_WORD: &str = "0";
const AFTER_ASCII_WORDS: &str = "{";

/// The score of each product by its number, in 64ths; zero where it does not fulfil the clause.
pub(super) fn scores(memory: &Memory, clause: &Clause) -> Vec<u32> {
    let mut evaluation = Evaluation { memory, free: Vec::new() };
    let mut scores = evaluation.buffer();
    evaluation.score(clause, &mut scores);
    scores
}

struct Evaluation<'a> {
    memory: &'a Memory,
    /// Buffers of zeros.
    free: Vec<Vec<u32>>,
}

impl Evaluation<'_> {
    fn buffer(&mut self) -> Vec<u32> {
        self.free.pop().unwrap_or_else(|| vec![0; self.memory.rows().len()])
    }

    fn give_back(&mut self, mut buffer: Vec<u32>) {
        buffer.fill(0);
        self.free.push(buffer);
    }

    /// Passes the scores of `clause` in a buffer to `merge`.
    fn with(&mut self, clause: &Clause, mut merge: impl FnMut(usize, u32)) {
        let mut scores = self.buffer();
        self.score(clause, &mut scores);
        scores.iter().enumerate().filter(|(_, score)| **score > 0).for_each(|(product, score)| merge(product, *score));
        self.give_back(scores);
    }

    /// Writes the scores of `clause` to `scores`, which is all zeros.
    fn score(&mut self, clause: &Clause, scores: &mut [u32]) {
        match clause {
            Clause::Word { .. } | Clause::Prefix { .. } | Clause::Typo { .. } | Clause::Phrase { .. } => {
                self.leaf(clause, |_| true, |product, weight| scores[product] = scores[product].max(weight));
            }
            Clause::Best(clauses) => {
                for clause in clauses {
                    let best = |product: usize, score: u32| scores[product] = scores[product].max(score);
                    self.leaf_or_buffer(clause, best);
                }
            }
            Clause::Any(clauses) => {
                for clause in clauses {
                    self.with(clause, |product, score| scores[product] += score);
                }
            }
            Clause::All { must, should } => self.all(must, should, scores),
        }
    }

    fn leaf_or_buffer(&mut self, clause: &Clause, merge: impl FnMut(usize, u32)) {
        if is_leaf(clause) {
            self.leaf(clause, |_| true, merge);
        } else {
            self.with(clause, merge);
        }
    }

    fn all(&mut self, must: &[Clause], should: &[Clause], scores: &mut [u32]) {
        let Some((first, others)) = must.split_first() else { return };
        self.score(first, scores);
        for clause in others {
            let mut next = self.buffer();
            self.score(clause, &mut next);
            for (score, more) in scores.iter_mut().zip(&next) {
                *score = if *score > 0 && *more > 0 { *score + *more } else { 0 };
            }
            self.give_back(next);
        }
        for clause in should {
            let mut more = self.buffer();
            if is_leaf(clause) {
                let found: &[u32] = scores;
                self.leaf(clause, |product| found[product] > 0, |product, weight| more[product] = weight);
            } else {
                self.score(clause, &mut more);
            }
            for (score, more) in scores.iter_mut().zip(&more).filter(|(score, _)| **score > 0) {
                *score += *more;
            }
            self.give_back(more);
        }
    }

    /// Calls `found` with each product that fulfils a condition on words, perhaps more than once. Products that `is_asked_for`
    /// refuses need not be looked at.
    fn leaf(&self, clause: &Clause, is_asked_for: impl Fn(usize) -> bool, mut found: impl FnMut(usize, u32)) {
        match clause {
            Clause::Word { field, word, weight } => {
                let postings = self.memory.words(*field).get(word);
                postings
                    .into_iter()
                    .flat_map(|postings| postings.iter())
                    .for_each(|at| found(at as usize, weight.whole()));
            }
            Clause::Prefix { field, prefix, weight } => {
                let words = self.memory.words(*field).from(prefix);
                let begun = words.take_while(|(word, _)| word.starts_with(prefix.as_str())).take(PREFIX_EXPANSIONS_MAX);
                begun.flat_map(|(_, postings)| postings.iter()).for_each(|at| found(at as usize, weight.whole()));
            }
            Clause::Typo { field, word, weight } => {
                let words = mistyped(self.memory.words(*field), word);
                words.flat_map(|postings| postings.iter()).for_each(|at| found(at as usize, weight.whole()));
            }
            Clause::Phrase { field, words, is_open, weight } => {
                self.phrase(*field, words, *is_open, is_asked_for, |product| found(product, weight.whole()));
            }
            Clause::All { .. } | Clause::Any(_) | Clause::Best(_) => {}
        }
    }

    /// Products that have the words one after the other: those that have the rarest of them are looked through.
    fn phrase(
        &self,
        field: Field,
        words: &[String],
        is_open: bool,
        is_asked_for: impl Fn(usize) -> bool,
        mut found: impl FnMut(usize),
    ) {
        let last = words.len().saturating_sub(1);
        let units: Vec<Vec<u32>> = words
            .iter()
            .enumerate()
            .map(|(at, word)| self.memory.units_of(field, word, is_open && at == last))
            .collect();
        let dictionary = self.memory.words(Field::Unit);
        let products =
            |units: &[u32]| units.iter().map(|unit| u64::from(dictionary.postings(*unit).len())).sum::<u64>();
        let Some(rarest) = units.iter().min_by_key(|units| products(units)) else { return };
        for product in rarest.iter().flat_map(|unit| dictionary.postings(*unit).iter()) {
            if !is_asked_for(product as usize) {
                continue;
            }
            let mut windows = self.memory.units(product).windows(units.len());
            let follows =
                |window: &[u32]| window.iter().zip(&units).all(|(unit, allowed)| allowed.binary_search(unit).is_ok());
            if windows.any(follows) {
                found(product as usize);
            }
        }
    }
}

const fn is_leaf(clause: &Clause) -> bool {
    match clause {
        Clause::Word { .. } | Clause::Prefix { .. } | Clause::Typo { .. } | Clause::Phrase { .. } => true,
        Clause::All { .. } | Clause::Any(_) | Clause::Best(_) => false,
    }
}

fn mistyped<'a>(words: &'a Words, word: &'a str) -> impl Iterator<Item = &'a super::postings::Postings> {
    let ascii = words.from(FIRST_ASCII_WORD).take_while(|(other, _)| *other < AFTER_ASCII_WORDS);
    let near = ascii.filter(|(other, _)| is_typo(word.as_bytes(), other.as_bytes()));
    near.take(TYPO_EXPANSIONS_MAX).map(|(_, postings)| postings)
}
