//! Which parts of a text a query found.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Analyzer, Form, forms::forms_with};
use crate::plan::{Matcher, Phrase};

/// A piece of the original text. The pieces of a text, one after the other, are the text.
///
/// There is no markup in it: what shows it escapes it like any other text, and no title can smuggle in an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// As it is in the original.
    pub text: String,
    /// Whether this piece matches the query.
    pub matched: bool,
}

pub(crate) fn highlight(analyzer: &Analyzer, text: &str, matcher: &Matcher) -> Vec<Fragment> {
    let forms = forms_with(analyzer, text, matcher.is_spelled());
    let mut spans: Vec<Range<usize>> =
        forms.iter().filter(|form| matcher.matches(form)).map(|form| form.span.clone()).collect();
    spans.extend(shortest(forms.iter().filter(|form| matcher.begins(form))));
    spans.extend(matcher.phrases().iter().flat_map(|phrase| phrase_spans(&forms, phrase)));
    fragments(text, &merged(spans))
}

/// Of forms that begin at the same place, the shortest: pinyin goes on to the words that follow.
fn shortest<'a>(forms: impl Iterator<Item = &'a Form>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = forms.map(|form| form.span.clone()).collect();
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    spans.dedup_by_key(|span| span.start);
    spans
}

fn phrase_spans(forms: &[Form], phrase: &Phrase) -> Vec<Range<usize>> {
    let sequence: Vec<&Form> = forms.iter().filter(|form| form.kind == phrase.kind).collect();
    let is_found = |window: &&[&Form]| {
        let last = phrase.words.len() - 1;
        window.iter().zip(&phrase.words).enumerate().all(|(at, (form, word))| {
            form.text == *word || phrase.is_open && at == last && form.text.starts_with(word.as_str())
        })
    };
    let found = sequence.windows(phrase.words.len().max(1)).filter(is_found);
    found.filter_map(|window| Some(window.first()?.span.start..window.last()?.span.end)).collect()
}

fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

fn fragments(text: &str, matched: &[Range<usize>]) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut push = |range: Range<usize>, matched: bool| {
        if !range.is_empty() {
            fragments.push(Fragment { text: text[range].to_owned(), matched });
        }
    };
    let mut from = 0;
    for span in matched {
        push(from..span.start, false);
        push(span.clone(), true);
        from = span.end;
    }
    push(from..text.len(), false);
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_spans_are_one() {
        assert_eq!(merged(vec![6..9, 0..3, 2..4, 9..10]), [0..4, 6..10]);
        let pieces = fragments("0123456789", &[0..4, 6..10]);
        let shown: Vec<(&str, bool)> = pieces.iter().map(|piece| (piece.text.as_str(), piece.matched)).collect();
        assert_eq!(shown, [("0123", true), ("45", false), ("6789", true)]);
        assert!(fragments("", &[]).is_empty());
    }
}
