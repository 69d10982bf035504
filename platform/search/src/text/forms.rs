//! Everything by which a text can be found, each with its place in the text.

use std::ops::Range;

use super::{
    Analyzer,
    pinyin::{Spelling, spellings},
    token::{Script, Tokens, Word},
};
use crate::limits::WORD_CHARS_MAX;

/// Units of a whole text that is searched for as one.
const WHOLE_UNITS_MAX: usize = 24;
/// Chinese characters of a word of the dictionary inside of a longer one.
const INNER_CHARS: Range<usize> = 3..8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FormKind {
    /// A word as it is written.
    Word,
    /// A part of a word, its stem, or two words taken for one.
    Part,
    /// The whole text.
    Whole,
    /// A unit.
    Unit,
    /// A unit as it is pronounced: the usual reading of a Chinese character, and any other unit as it is.
    Syllable,
    /// The first letter of its syllable.
    Letter,
    /// A Chinese word in Latin letters.
    Pinyin,
    /// The first letters of its syllables.
    Initials,
}

/// One spelling by which a text is found, and the bytes of the text that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub kind: FormKind,
    pub text: String,
    pub span: Range<usize>,
}

pub(crate) fn forms(analyzer: &Analyzer, text: &str) -> Vec<Form> {
    forms_with(analyzer, text, true)
}

/// The forms of `text`; those in the Latin letters of Chinese only where `is_spelled`.
pub(crate) fn forms_with(analyzer: &Analyzer, text: &str, is_spelled: bool) -> Vec<Form> {
    let tokens = analyzer.tokens(text);
    let mut forms = Forms { tokens: &tokens, is_spelled, found: Vec::new() };
    for unit in 0..tokens.units.len() {
        forms.unit(unit);
    }
    for (at, word) in tokens.words.iter().enumerate() {
        forms.add(FormKind::Word, word.units.clone());
        if tokens.is_chinese(word) {
            forms.chinese_parts(analyzer, word);
            if is_spelled {
                forms.pinyin(analyzer, word);
            }
        } else {
            forms.latin_parts(analyzer, word);
            if let Some(next) = tokens.words.get(at + 1) {
                forms.joined(word, next);
            }
        }
    }
    let whole = 0..tokens.units.len();
    if (1..=WHOLE_UNITS_MAX).contains(&whole.len()) && tokens.text(whole.clone()).chars().count() <= WORD_CHARS_MAX {
        forms.add(FormKind::Whole, whole);
    }
    forms.found
}

struct Forms<'a> {
    tokens: &'a Tokens,
    is_spelled: bool,
    found: Vec<Form>,
}

impl Forms<'_> {
    fn add(&mut self, kind: FormKind, units: Range<usize>) {
        self.add_text(kind, self.tokens.text(units.clone()), &units);
    }

    fn add_text(&mut self, kind: FormKind, text: String, units: &Range<usize>) {
        self.found.push(Form { kind, text, span: self.tokens.span(units) });
    }

    fn unit(&mut self, at: usize) {
        self.add(FormKind::Unit, at..at + 1);
        if !self.is_spelled {
            return;
        }
        let unit = &self.tokens.units[at];
        let usual = if unit.script == Script::Chinese { spellings(&unit.text).into_iter().next() } else { None };
        let as_it_is = || Spelling { full: unit.text.clone(), initials: unit.text.clone() };
        let Spelling { full, initials } = usual.unwrap_or_else(as_it_is);
        self.add_text(FormKind::Syllable, full, &(at..at + 1));
        self.add_text(FormKind::Letter, initials, &(at..at + 1));
    }

    fn latin_parts(&mut self, analyzer: &Analyzer, word: &Word) {
        for part in &word.parts {
            self.add(FormKind::Part, part.clone());
        }
        for (text, span) in &word.humps {
            self.found.push(Form { kind: FormKind::Part, text: text.clone(), span: span.clone() });
        }
        for unit in word.units.clone() {
            // Some write 256GB, some 256 GB.
            if word.units.len() > 1 {
                self.add(FormKind::Word, unit..unit + 1);
            }
            if let Some(stem) = analyzer.stem(&self.tokens.units[unit].text) {
                self.add_text(FormKind::Part, stem, &(unit..unit + 1));
            }
        }
    }

    /// `Air Pods` is found by `airpods` too.
    fn joined(&mut self, word: &Word, next: &Word) {
        let is_letters =
            |word: &Word| word.units.len() == 1 && self.tokens.units[word.units.start].script == Script::Letters;
        if is_letters(word) && is_letters(next) {
            self.add(FormKind::Part, word.units.start..next.units.end);
        }
    }

    /// Every two neighbours inside of a word, and the longer words of the dictionary inside of it.
    fn chinese_parts(&mut self, analyzer: &Analyzer, word: &Word) {
        let units = &word.units;
        for start in units.clone() {
            if units.len() > 2 && start + 2 <= units.end {
                self.add(FormKind::Part, start..start + 2);
            }
            for end in INNER_CHARS.map(|chars| start + chars).take_while(|end| *end <= units.end) {
                if (end - start) < units.len() && analyzer.is_known(&self.tokens.text(start..end)) {
                    self.add(FormKind::Part, start..end);
                }
            }
        }
    }

    /// The pinyin of a word and of the words inside of it.
    fn pinyin(&mut self, analyzer: &Analyzer, word: &Word) {
        let units = &word.units;
        self.spelled(units.clone());
        for start in units.clone() {
            for end in start + 2..=units.end {
                let is_inner = end - start < units.len();
                if is_inner && analyzer.is_known(&self.tokens.text(start..end)) {
                    self.spelled(start..end);
                }
            }
        }
    }

    fn spelled(&mut self, units: Range<usize>) {
        let mut initials = Vec::new();
        // The other readings of a character alone are rarer than what is spelled like them.
        let readings = if units.len() == 1 { 1 } else { usize::MAX };
        for spelling in spellings(&self.tokens.text(units.clone())).into_iter().take(readings) {
            self.add_text(FormKind::Pinyin, spelling.full, &units);
            if spelling.initials.len() > 1 && !initials.contains(&spelling.initials) {
                initials.push(spelling.initials);
            }
        }
        for initials in initials {
            self.add_text(FormKind::Initials, initials, &units);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, kind: FormKind) -> Vec<String> {
        let forms = forms(Analyzer::shared(), text);
        forms.into_iter().filter(|form| form.kind == kind).map(|form| form.text).collect()
    }

    #[test]
    fn parts_of_words_are_found() {
        let check = |text: &str, expect: &str| assert_eq!(found(text, FormKind::Part).join(" "), expect, "{text}");
        check("RX-7800XT", "rx 7800xt");
        check("AirPods", "air pods airpod");
        check("LenovoE4649", "lenovo e4649 lenovo");
        check("Running shoes", "run runningshoes shoe");
        check("智能手机", "智能 能手 手机");
        check("手机壳", "手机 机壳");
        check("手机", "");
    }

    #[test]
    fn chinese_is_found_by_its_pinyin() {
        let pinyin = found("华为Mate60智能手机壳", FormKind::Pinyin);
        for expect in ["huawei", "shouji", "zhineng"] {
            assert!(pinyin.iter().any(|form| form == expect), "{expect} in {pinyin:?}");
        }
        let initials = found("华为 手机", FormKind::Initials);
        assert!(initials.contains(&"hw".to_owned()) && initials.contains(&"sj".to_owned()), "{initials:?}");
        assert!(!initials.contains(&"hwsj".to_owned()), "they are two words");
        assert_eq!(found("华为X手机", FormKind::Syllable), ["hua", "wei", "x", "shou", "ji"]);
        assert_eq!(found("华为15手机", FormKind::Letter), ["h", "w", "15", "s", "j"]);
    }

    #[test]
    fn forms_lie_where_they_are_in_the_text() {
        let text = "【新款】ＩＰＨＯＮＥ15 手機殼";
        for form in forms(Analyzer::shared(), text) {
            assert!(text.get(form.span.clone()).is_some(), "{form:?}");
        }
        let shell = forms(Analyzer::shared(), text).into_iter().find(|form| form.text == "手机壳");
        assert_eq!(shell.map(|form| &text[form.span]), Some("手機殼"));
    }
}
