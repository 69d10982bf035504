//! Words that mean the same, from a file.
//!
//! One rule a line; `#` begins a comment. `a, b, c`: a search for one finds the others too. `a, b => c, d`: a search
//! for a or b finds c and d too, but not the other way round. A phrase may have several words.

use std::fmt;

use rustc_hash::FxHashMap;

use super::Analyzer;
use crate::limits::{SPAN_WORDS_MAX, SYNONYM_PHRASES_MAX, SYNONYM_RULES_MAX, SYNONYMS_BYTES_MAX};

/// What a query means besides what it says.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Synonyms {
    /// By the [`key`] of a phrase: the words of each phrase that means the same.
    meanings: FxHashMap<String, Vec<Vec<String>>>,
}

impl fmt::Debug for Synonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synonyms").field("phrases", &self.meanings.len()).finish()
    }
}

/// A line that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SynonymError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The rules that a shop without a file of its own has.
const SHOP: &str = include_str!("../../data/synonyms.txt");

impl Synonyms {
    /// The rules of `data/synonyms.txt`, for a shop that has none of its own.
    pub fn shop() -> Self {
        Self::parse(SHOP).0
    }

    /// Reads a file of rules. Lines that are no rules are returned and have no effect; the others have.
    pub fn parse(text: &str) -> (Self, Vec<SynonymError>) {
        let mut synonyms = Self::default();
        let mut errors = Vec::new();
        if text.len() > SYNONYMS_BYTES_MAX {
            let reason = format!("the file has {} bytes, more than {SYNONYMS_BYTES_MAX}", text.len());
            return (synonyms, vec![SynonymError { line: 1, reason }]);
        }
        let mut rules = 0;
        for (at, line) in text.lines().enumerate() {
            let rule = line.split_once('#').map_or(line, |(rule, _)| rule).trim().trim_start_matches('\u{feff}');
            if rule.is_empty() {
                continue;
            }
            rules += 1;
            let added = if rules > SYNONYM_RULES_MAX {
                Err(format!("more than {SYNONYM_RULES_MAX} rules"))
            } else {
                synonyms.add(rule)
            };
            if let Err(reason) = added {
                errors.push(SynonymError { line: at + 1, reason });
                if rules > SYNONYM_RULES_MAX {
                    break;
                }
            }
        }
        (synonyms, errors)
    }

    fn add(&mut self, rule: &str) -> Result<(), String> {
        match rule.split_once("=>") {
            None => {
                let phrases = phrases(rule)?;
                if phrases.len() < 2 {
                    return Err("a rule needs two phrases with a comma between them, or an arrow".to_owned());
                }
                for from in &phrases {
                    self.mean(from, phrases.iter().filter(|to| *to != from));
                }
            }
            Some((_, right)) if right.contains("=>") => return Err("more than one arrow".to_owned()),
            Some((left, right)) => {
                let (left, right) = (phrases(left)?, phrases(right)?);
                for from in &left {
                    self.mean(from, right.iter().filter(|to| *to != from));
                }
            }
        }
        Ok(())
    }

    fn mean<'a>(&mut self, from: &[String], to: impl Iterator<Item = &'a Vec<String>>) {
        let meanings = self.meanings.entry(key(from)).or_default();
        for phrase in to {
            if !meanings.contains(phrase) && meanings.len() < SYNONYM_PHRASES_MAX {
                meanings.push(phrase.clone());
            }
        }
    }

    /// The words of each phrase that means the same as `words`.
    pub(crate) fn of(&self, words: &[impl AsRef<str>]) -> &[Vec<String>] {
        if self.meanings.is_empty() {
            return &[];
        }
        self.meanings.get(&key(words)).map_or(&[], Vec::as_slice)
    }
}

/// The words of a phrase by their stems, so that `earphone` is found by a rule about `earphones`.
fn key(words: &[impl AsRef<str>]) -> String {
    let stem = |word: &str| Analyzer::shared().stem(word).unwrap_or_else(|| word.to_owned());
    words.iter().map(|word| stem(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn phrases(list: &str) -> Result<Vec<Vec<String>>, String> {
    let mut phrases = Vec::new();
    for phrase in list.split([',', '，']) {
        let words = Analyzer::shared().words(phrase);
        if words.is_empty() {
            return Err(format!("`{}` has no word", phrase.trim()));
        }
        if words.len() > SPAN_WORDS_MAX {
            return Err(format!("`{}` has more than {SPAN_WORDS_MAX} words", phrase.trim()));
        }
        phrases.push(words);
    }
    if phrases.len() > SYNONYM_PHRASES_MAX {
        return Err(format!("more than {SYNONYM_PHRASES_MAX} phrases"));
    }
    Ok(phrases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let (synonyms, errors) = Synonyms::parse(
            "\u{feff}# a comment\n\n手機， 移动电话, Cell-Phone # another\niPad => 笔记本电脑, tablet computer\n",
        );
        assert_eq!(errors, []);
        let check = |words: &[&str], expect: &[&[&str]]| assert_eq!(synonyms.of(words), expect, "{words:?}");
        check(&["手机"], &[&["移动电话"], &["cellphone"]]);
        check(&["cellphone"], &[&["手机"], &["移动电话"]]);
        check(&["ipad"], &[&["笔记本电脑"], &["tablet", "computer"]]);
        check(&["tablet", "computer"], &[]);
        check(&["tablet"], &[]);
    }

    #[test]
    fn rules_hold_for_other_forms_of_a_word() {
        let (synonyms, errors) = Synonyms::parse("耳机, earphones\nwashing machine, 洗衣机\n");
        assert_eq!(errors, []);
        let check = |words: &[&str], expect: &[&[&str]]| assert_eq!(synonyms.of(words), expect, "{words:?}");
        check(&["earphones"], &[&["耳机"]]);
        check(&["earphone"], &[&["耳机"]]);
        check(&["washing", "machines"], &[&["洗衣机"]]);
        check(&["耳机"], &[&["earphones"]]);
    }

    #[test]
    fn the_rules_of_the_shop_are_rules() {
        assert_eq!(Synonyms::parse(SHOP).1, []);
        assert_eq!(Synonyms::shop().of(&["充电宝"]), [vec!["移动", "电源"], vec!["power", "bank"]]);
    }

    #[test]
    fn lines_that_are_no_rules_are_named() {
        let text = "手机\n手机, ,电话\na => b => c\n=> b\na, b, c\na b c d e, f\n";
        let (synonyms, errors) = Synonyms::parse(text);
        let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
        assert!(errors[1].to_string().starts_with("line 2: "), "{}", errors[1]);
        assert_eq!(synonyms.of(&["a"]).len(), 2, "the good line has its effect");
    }

    #[test]
    fn files_are_limited() {
        let (synonyms, errors) = Synonyms::parse(&"a, b\n".repeat(SYNONYM_RULES_MAX + 5));
        assert_eq!(errors.len(), 1, "one error for all lines beyond the limit");
        assert_eq!(errors[0].line, SYNONYM_RULES_MAX + 1);
        assert_eq!(synonyms.of(&["a"]).len(), 1);
        let (_, errors) = Synonyms::parse(&"a".repeat(SYNONYMS_BYTES_MAX + 1));
        assert_eq!(errors.len(), 1);
    }
}
