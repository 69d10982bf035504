//! The words of a query.

use std::{collections::HashSet, ops::Range};

use crate::{
    limits::{MEANING_WORDS_MAX, QUERY_WORDS_MAX, SPAN_WORDS_MAX},
    text::{Analyzer, Script, Tokens},
};

/// Words that say nothing about a product. They count only where a query has no others.
const STOP_WORDS: &[&str] = &[
    "的", "了", "和", "与", "及", "或", "在", "是", "我", "想", "要", "买", "请", "给", "用", "the", "a", "an", "of",
    "for", "and", "or", "with", "to", "in",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WordKind {
    /// Chinese characters.
    Chinese,
    /// Letters only.
    Letters,
    /// Digits only.
    Digits,
    /// Units of several kinds.
    Mixed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryWord {
    pub text: String,
    pub kind: WordKind,
    pub units: Vec<String>,
    /// The words that it is composed of; empty where it is of one.
    pub parts: Vec<String>,
}

impl QueryWord {
    pub(crate) fn letters(&self) -> usize {
        self.text.chars().count()
    }

    fn new(tokens: &Tokens, units: Range<usize>, parts: &[Range<usize>]) -> Self {
        let scripts = tokens.units[units.clone()].iter().map(|unit| unit.script);
        let kind = if scripts.clone().all(|script| script == Script::Chinese) {
            WordKind::Chinese
        } else if scripts.clone().all(|script| script == Script::Letters) {
            WordKind::Letters
        } else if scripts.clone().all(|script| script == Script::Digits) {
            WordKind::Digits
        } else {
            WordKind::Mixed
        };
        Self {
            text: tokens.text(units.clone()),
            kind,
            units: tokens.units[units].iter().map(|unit| unit.text.clone()).collect(),
            parts: parts.iter().map(|part| tokens.text(part.clone())).collect(),
        }
    }

    /// Letters for each of `text`'s characters, as one word.
    pub(crate) fn letters_only(text: String) -> Self {
        Self { units: vec![text.clone()], text, kind: WordKind::Letters, parts: Vec::new() }
    }
}

/// Words that stand for one thing, and others that mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub words: Vec<QueryWord>,
    pub meanings: Vec<Vec<QueryWord>>,
}

pub(crate) fn query_words(analyzer: &Analyzer, text: &str) -> Vec<QueryWord> {
    let tokens = analyzer.tokens(text);
    let words: Vec<QueryWord> =
        tokens.words.iter().map(|word| QueryWord::new(&tokens, word.units.clone(), &word.parts)).collect();
    let is_telling = |word: &&QueryWord| !STOP_WORDS.contains(&word.text.as_str());
    let telling: Vec<QueryWord> = words.iter().filter(is_telling).cloned().collect();
    let mut words = if telling.is_empty() { words } else { telling };
    let mut known = HashSet::new();
    words.retain(|word| known.insert(word.text.clone()));
    words.truncate(QUERY_WORDS_MAX);
    words
}

/// Groups words to the longest phrases that have synonyms.
pub(crate) fn slots(analyzer: &Analyzer, words: &[QueryWord]) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut budget = MEANING_WORDS_MAX;
    let mut at = 0;
    while at < words.len() {
        let longest = SPAN_WORDS_MAX.min(words.len() - at);
        let found = (1..=longest).rev().find_map(|count| {
            let span: Vec<&str> = words[at..at + count].iter().map(|word| word.text.as_str()).collect();
            let meanings = analyzer.synonyms().of(&span);
            (!meanings.is_empty()).then_some((count, meanings))
        });
        let (count, meanings) = found.unwrap_or((1, &[]));
        let meanings: Vec<Vec<QueryWord>> = meanings
            .iter()
            .map(|meaning| query_words(analyzer, &meaning.join(" ")))
            .take_while(|meaning| {
                let fits = meaning.len() <= budget;
                budget = budget.saturating_sub(meaning.len());
                fits
            })
            .collect();
        slots.push(Slot { words: words[at..at + count].to_vec(), meanings });
        at += count;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Synonyms;

    #[test]
    fn stop_words_count_only_alone() {
        let check = |text: &str, expect: &[&str]| {
            let words = query_words(Analyzer::shared(), text);
            assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), expect, "{text}");
        };
        check("女士的连衣裙", &["女士", "连衣裙"]);
        check("的", &["的"]);
        check("cover for the iphone", &["cover", "iphone"]);
        check("", &[]);
        assert_eq!(query_words(Analyzer::shared(), &"手机 ".repeat(100)).len(), 1, "each word once");
        let many: String = (0..100).map(|number| format!("{number} ")).collect();
        assert_eq!(query_words(Analyzer::shared(), &many).len(), QUERY_WORDS_MAX);
    }

    #[test]
    fn phrases_with_synonyms_are_one_slot() {
        let (synonyms, errors) = Synonyms::parse("充电 宝 => 移动电源\n手机, cellphone");
        assert!(errors.is_empty());
        let analyzer = Analyzer::new(synonyms);
        let slots = slots(&analyzer, &query_words(&analyzer, "小米 充电 宝 手机"));
        let shown: Vec<(usize, usize)> = slots.iter().map(|slot| (slot.words.len(), slot.meanings.len())).collect();
        assert_eq!(shown, [(1, 0), (2, 1), (1, 1)]);
    }
}
