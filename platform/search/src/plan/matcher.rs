//! Whether a form of a text is one that a clause looks for.

use std::collections::HashSet;

use super::{Clause, Field};
use crate::text::{Form, FormKind};

/// The conditions of a clause, to find in a text what an index found.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    words: HashSet<(FormKind, String)>,
    prefixes: Vec<(FormKind, String)>,
    typos: Vec<String>,
    phrases: Vec<Phrase>,
}

/// Words that a text is searched for one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phrase {
    pub kind: FormKind,
    pub words: Vec<String>,
    pub is_open: bool,
}

impl Matcher {
    pub(crate) fn new(clause: &Clause) -> Self {
        let mut matcher = Self::default();
        clause.leaves(&mut |leaf| matcher.add(leaf));
        matcher
    }

    fn add(&mut self, leaf: &Clause) {
        match leaf {
            Clause::Word { field, word, .. } => drop(self.words.insert((field.form(), word.clone()))),
            Clause::Prefix { field, prefix, .. } => {
                let prefix = (field.form(), prefix.clone());
                if !self.prefixes.contains(&prefix) {
                    self.prefixes.push(prefix);
                }
            }
            Clause::Typo { field: Field::Title, word, .. } => self.typos.push(word.clone()),
            // What is mistyped is so in every field.
            Clause::Typo { .. } => {}
            Clause::Phrase { field, words, is_open, .. } => {
                let phrase = Phrase { kind: field.form(), words: words.clone(), is_open: *is_open };
                if !self.phrases.contains(&phrase) {
                    self.phrases.push(phrase);
                }
            }
            Clause::All { .. } | Clause::Any(_) | Clause::Best(_) => {}
        }
    }

    /// Whether the clause looks for this form, as it is.
    pub(crate) fn matches(&self, form: &Form) -> bool {
        // `Part` and `Word` are found by either: which of the two a text has depends on its neighbours.
        let has = |kind: FormKind| self.words.contains(&(kind, form.text.clone()));
        match form.kind {
            FormKind::Word | FormKind::Part => {
                has(FormKind::Word)
                    || has(FormKind::Part)
                    || self.typos.iter().any(|word| is_typo(word.as_bytes(), form.text.as_bytes()))
            }
            FormKind::Whole
            | FormKind::Unit
            | FormKind::Syllable
            | FormKind::Letter
            | FormKind::Pinyin
            | FormKind::Initials => has(form.kind),
        }
    }

    /// Whether the form begins as the clause asks.
    pub(crate) fn begins(&self, form: &Form) -> bool {
        self.prefixes.iter().any(|(kind, prefix)| *kind == form.kind && form.text.starts_with(prefix.as_str()))
    }

    /// Whether the clause looks for Chinese in Latin letters.
    pub(crate) fn is_spelled(&self) -> bool {
        let is_spelled = |kind: &FormKind| match kind {
            FormKind::Pinyin | FormKind::Initials | FormKind::Syllable | FormKind::Letter => true,
            FormKind::Word | FormKind::Part | FormKind::Whole | FormKind::Unit => false,
        };
        self.words.iter().map(|(kind, _)| kind).chain(self.prefixes.iter().map(|(kind, _)| kind)).any(is_spelled)
            || self.phrases.iter().any(|phrase| is_spelled(&phrase.kind))
    }

    pub(crate) fn phrases(&self) -> &[Phrase] {
        &self.phrases
    }
}

/// Whether one letter more, less, other, or two swapped neighbours make `word` of `text`.
pub(crate) fn is_typo(word: &[u8], text: &[u8]) -> bool {
    if word.len().abs_diff(text.len()) > 1 {
        return false;
    }
    let same = word.iter().zip(text).take_while(|(left, right)| left == right).count();
    let (left, right) = (&word[same..], &text[same..]);
    match (left, right) {
        ([], [] | [_]) | ([_], []) => true,
        ([], _) | (_, []) => false,
        ([a, left_rest @ ..], [b, right_rest @ ..]) => {
            left_rest == right_rest
                || left_rest == right
                || left == right_rest
                || matches!((left_rest, right_rest), ([c, left_end @ ..], [d, right_end @ ..])
                    if a == d && b == c && left_end == right_end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_typo_is_one() {
        let check = |word: &str, text: &str, expect: bool| {
            assert_eq!(is_typo(word.as_bytes(), text.as_bytes()), expect, "{word} {text}");
        };
        for text in ["samsung", "samsng", "samsungs", "sumsung", "asmsung", "samsugn", "amsung", "samsun", "xsamsung"] {
            check("samsung", text, true);
        }
        for text in ["samsg", "sumsang", "sony", "", "gnusmas"] {
            check("samsung", text, false);
        }
    }
}
