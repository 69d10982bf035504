//! What a query asks of an index.
//!
//! A query is tried at several levels, each looser than the one before; the first at which anything is found decides. So a
//! mistyped word is forgiven, and noise is not added to what was found as it was asked for.

mod clause;
mod matcher;
mod words;

pub(crate) use clause::{Clause, Field, Weight};
pub(crate) use matcher::{Matcher, Phrase, is_typo};

use words::{QueryWord, Slot, WordKind, query_words, slots};

use crate::{
    limits::{PREFIX_LETTERS_MIN, READINGS_MAX, SPAN_WORDS_MAX, TYPO_LETTERS_MIN},
    text::{Analyzer, begun_syllables, is_pinyin, syllables},
};

/// Letters of initials that are looked for: `hw` to `hwznsj`.
const INITIALS: std::ops::RangeInclusive<usize> = 2..=16;
/// Letters of initials that are taken for them before anything else was tried: two letters are the first of many words.
const INITIALS_EXACT_MIN: usize = 3;
/// Letters of pinyin that is split in two, to find words that do not follow each other.
const SPLIT_LETTERS_MAX: usize = 24;
const SPLITS_MAX: usize = 6;
/// Initials that are split in two.
const SPLIT_INITIALS_MAX: usize = 6;
/// Characters of the piece at either end of a split.
const SPLIT_PIECE_MIN: usize = 2;
/// Words of a query that may be mistyped or composed; who has typed or pasted more means them as they are.
const LOOSE_WORDS_MAX: usize = 8;
/// Words of a query in which neighbours are taken for one word.
const JOINED_WORDS_MAX: usize = 5;
const SYNONYM_PERCENT: u32 = 75;
const STEM_PERCENT: u32 = 75;

/// How strictly words are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every word is there: as it is, by its stem, by pinyin, or as the beginning of a longer one.
    Exact,
    /// Every word is there, perhaps with one typo, by its initials, or inside of other words.
    Relaxed,
    /// At least one word is there.
    Any,
    /// Every word is there, the last one perhaps not yet typed to its end.
    Typing,
}

impl Level {
    /// The levels of a search in the order in which they are tried.
    pub(crate) const SEARCH: [Self; 3] = [Self::Exact, Self::Relaxed, Self::Any];

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Exact => 0,
            Self::Relaxed => 1,
            Self::Any => 2,
            Self::Typing => 3,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Exact),
            1 => Some(Self::Relaxed),
            2 => Some(Self::Any),
            3 => Some(Self::Typing),
            _ => None,
        }
    }
}

/// A query's words.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    words: Vec<QueryWord>,
    slots: Vec<Slot>,
    analyzer: Analyzer,
}

impl Plan {
    /// `None` where `text` has no word.
    pub(crate) fn new(analyzer: &Analyzer, text: &str) -> Option<Self> {
        let words = query_words(analyzer, text);
        if words.is_empty() {
            return None;
        }
        Some(Self { slots: slots(analyzer, &words), words, analyzer: analyzer.clone() })
    }

    pub(crate) fn clause(&self, level: Level) -> Clause {
        let mut readings = vec![self.reading(&self.slots, level)];
        for words in self.joined(level) {
            if readings.len() < READINGS_MAX {
                readings.push(self.reading(&slots(&self.analyzer, &words), level));
            }
        }
        let found = if readings.len() == 1 { readings.remove(0) } else { Clause::Best(readings) };
        Clause::All { must: vec![found], should: self.bonuses() }
    }

    fn reading(&self, slots: &[Slot], level: Level) -> Clause {
        let last = slots.len().saturating_sub(1);
        let clauses = slots.iter().enumerate().map(|(at, slot)| self.slot(slot, level, at == last)).collect();
        match level {
            Level::Any => Clause::Any(clauses),
            Level::Exact | Level::Relaxed | Level::Typing => Clause::all(clauses),
        }
    }

    fn slot(&self, slot: &Slot, level: Level, is_last: bool) -> Clause {
        let together = |words: &[QueryWord], one: &dyn Fn(usize, &QueryWord) -> Clause| {
            let mut clauses: Vec<Clause> = words.iter().enumerate().map(|(at, word)| one(at, word)).collect();
            if clauses.len() == 1 { clauses.remove(0) } else { Clause::all(clauses) }
        };
        let last = slot.words.len().saturating_sub(1);
        let as_asked = |at: usize, word: &QueryWord| self.word(word, level, is_last && at == last, 100);
        let as_meant = |_: usize, word: &QueryWord| self.meant(word, level);
        let mut choices = vec![together(&slot.words, &as_asked)];
        choices.extend(slot.meanings.iter().map(|meaning| together(meaning, &as_meant)));
        if choices.len() == 1 { choices.remove(0) } else { Clause::Best(choices) }
    }

    /// A word of a synonym. It is written as its file has it, so no typo is looked for, but it may be composed.
    fn meant(&self, word: &QueryWord, level: Level) -> Clause {
        let exact = self.word(word, Level::Exact, false, SYNONYM_PERCENT);
        let mut choices = Choices { scale: SYNONYM_PERCENT, found: vec![exact] };
        if matches!(level, Level::Relaxed | Level::Any) && self.words.len() <= LOOSE_WORDS_MAX {
            self.composed(word, level, &mut choices);
        }
        if choices.found.len() == 1 { choices.found.remove(0) } else { Clause::Best(choices.found) }
    }

    fn word(&self, word: &QueryWord, level: Level, is_last: bool, scale: u32) -> Clause {
        let mut choices =
            Choices { scale: if level == Level::Any { scale * telling(word) / 100 } else { scale }, found: Vec::new() };
        choices.exact(&word.text, 100);
        if is_last
            && (level == Level::Typing
                || level == Level::Exact && word.letters() >= PREFIX_LETTERS_MIN && word.kind != WordKind::Chinese)
        {
            choices.prefix(&word.text);
        }
        let is_loose = matches!(level, Level::Relaxed | Level::Any) && self.words.len() <= LOOSE_WORDS_MAX;
        match word.kind {
            WordKind::Chinese => choices.chinese(word, is_loose),
            WordKind::Letters if self.words.len() > LOOSE_WORDS_MAX => {
                self.letters(word, Level::Exact, false, &mut choices)
            }
            WordKind::Letters => self.letters(word, level, is_last, &mut choices),
            WordKind::Digits => {}
            WordKind::Mixed => choices.phrase(&word.units, 6),
        }
        if is_loose {
            if word.kind != WordKind::Chinese && word.letters() >= SPLIT_PIECE_MIN {
                choices.prefix(&word.text);
            }
            if word.kind != WordKind::Digits && word.letters() >= TYPO_LETTERS_MIN && word.text.is_ascii() {
                choices.typo(&word.text);
            }
            self.composed(word, level, &mut choices);
        }
        if level == Level::Any {
            choices.scattered(word);
        }
        let stem = (word.kind == WordKind::Letters).then(|| self.analyzer.stem(&word.text)).flatten();
        let bonus = |field, points| {
            let form = |word: &str, percent| Clause::Word {
                field,
                word: word.to_owned(),
                weight: choices.weight(points, percent),
            };
            match &stem {
                None => form(&word.text, 100),
                Some(stem) => Clause::Best(vec![form(&word.text, 100), form(stem, STEM_PERCENT)]),
            }
        };
        let should =
            vec![bonus(Field::Title, 6), bonus(Field::Value, 4), bonus(Field::Category, 2), bonus(Field::Start, 1)];
        Clause::All { must: vec![Clause::Best(choices.found)], should }
    }

    fn letters(&self, word: &QueryWord, level: Level, is_last: bool, choices: &mut Choices) {
        let text = &word.text;
        if let Some(stem) = self.analyzer.stem(text) {
            choices.exact(&stem, STEM_PERCENT);
        }
        if word.units.len() > 1 {
            choices.phrase(&word.units, 3);
        }
        if !text.is_ascii() || text.len() < SPLIT_PIECE_MIN {
            return;
        }
        // One syllable may be any of a hundred characters.
        match syllables(text).first().map(Vec::len) {
            None => {}
            Some(1) => choices.one(Field::Pinyin, text, 2),
            Some(_) => choices.one(Field::Pinyin, text, 5),
        }
        if INITIALS.contains(&text.len()) && (level != Level::Exact || text.len() >= INITIALS_EXACT_MIN) {
            choices.one(Field::Initials, text, 4);
        }
        let is_open = is_last && level == Level::Typing;
        if is_open || (is_last || level != Level::Exact) && text.len() > PREFIX_LETTERS_MIN {
            let weight = choices.weight(3, 100);
            choices.found.push(Clause::Prefix { field: Field::Pinyin, prefix: text.clone(), weight });
        }
        // Like characters: two syllables that follow each other are often no word.
        let syllables_min = if level == Level::Exact { 3 } else { 2 };
        let readings = if is_open { begun_syllables(text) } else { syllables(text) };
        for words in readings.into_iter().filter(|words| words.len() >= syllables_min) {
            choices.found.push(Clause::Phrase {
                field: Field::Syllable,
                words,
                is_open,
                weight: choices.weight(4, 100),
            });
        }
        if level != Level::Exact {
            choices.splits(text, is_open);
            if INITIALS.contains(&text.len()) && text.len() >= INITIALS_EXACT_MIN {
                let words = text.chars().map(String::from).collect();
                let weight = choices.weight(1, 100);
                choices.found.push(Clause::Phrase { field: Field::Letter, words, is_open: false, weight });
            }
        }
    }

    /// The words that a word is composed of, which need not follow each other.
    fn composed(&self, word: &QueryWord, level: Level, choices: &mut Choices) {
        let pieces = match word.kind {
            WordKind::Chinese if word.parts.is_empty() => self.inner_words(word),
            WordKind::Chinese => self.parts(word),
            WordKind::Mixed => word.units.clone(),
            WordKind::Letters | WordKind::Digits => return,
        };
        let words: Vec<QueryWord> = pieces.iter().flat_map(|piece| query_words(&self.analyzer, piece)).collect();
        let words = if level == Level::Any { self.smallest(words) } else { words };
        if words.len() < 2 || words.iter().all(|word| word.letters() < 2) {
            return;
        }
        let clauses = words.iter().map(|piece| self.piece(piece, level, choices.scale / 2)).collect();
        choices.found.push(if level == Level::Any { Clause::Any(clauses) } else { Clause::all(clauses) });
    }

    /// The parts of a composed word. A character that ends it belongs to the word before it: 智能手机壳 is 智能 and 手机壳.
    fn parts(&self, word: &QueryWord) -> Vec<String> {
        let [body, end] = word.parts.as_slice() else { return word.parts.clone() };
        let units = body.chars().map(String::from).collect();
        let body = QueryWord { text: body.clone(), kind: WordKind::Chinese, units, parts: Vec::new() };
        let mut parts = self.inner_words(&body);
        match parts.last_mut() {
            Some(last) if end.chars().count() == 1 && last.chars().count() > 1 && body.letters() > 3 => {
                last.push_str(end)
            }
            _ => return word.parts.clone(),
        }
        parts
    }

    /// The words of which these are composed in turn; single characters only where there is nothing else.
    fn smallest(&self, words: Vec<QueryWord>) -> Vec<QueryWord> {
        let inner = words.iter().flat_map(|word| match word.kind {
            WordKind::Chinese if word.letters() > 3 => {
                self.inner_words(word).iter().flat_map(|inner| query_words(&self.analyzer, inner)).collect()
            }
            WordKind::Chinese | WordKind::Letters | WordKind::Digits | WordKind::Mixed => vec![word.clone()],
        });
        let inner: Vec<QueryWord> = inner.collect();
        let long: Vec<QueryWord> = inner.iter().filter(|word| word.letters() > 1).cloned().collect();
        if long.len() > 1 { long } else { inner }
    }

    /// What a piece of a composed word is found by.
    fn piece(&self, word: &QueryWord, level: Level, scale: u32) -> Clause {
        let mut choices = Choices { scale, found: Vec::new() };
        choices.exact(&word.text, 100);
        match word.kind {
            WordKind::Letters => self.letters(word, level, false, &mut choices),
            WordKind::Chinese => choices.phrase(&word.units, 3),
            WordKind::Digits | WordKind::Mixed => {}
        }
        if word.kind == WordKind::Letters && word.letters() >= TYPO_LETTERS_MIN && word.text.is_ascii() {
            choices.typo(&word.text);
        }
        Clause::Best(choices.found)
    }

    /// The words of the dictionary that a longer word of the dictionary consists of, the longest first.
    fn inner_words(&self, word: &QueryWord) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut from = 0;
        while from < word.units.len() {
            let ends = (from + 1..=word.units.len()).rev();
            let is_inner =
                |end: &usize| end - from < word.units.len() && self.analyzer.is_known(&word.units[from..*end].concat());
            let end = ends.into_iter().find(is_inner).unwrap_or(from + 1);
            pieces.push(word.units[from..end].concat());
            from = end;
        }
        pieces
    }

    /// The query with words of letters taken for one: `air pods`, `hua wei`.
    fn joined(&self, level: Level) -> Vec<Vec<QueryWord>> {
        let is_letters = |word: &QueryWord| word.kind == WordKind::Letters && word.units.len() == 1;
        let mut joined = Vec::new();
        let mut join = |from: usize, end: usize| {
            let text = self.words[from..end].iter().map(|word| word.text.as_str()).collect();
            let mut words = self.words[..from].to_vec();
            words.push(QueryWord::letters_only(text));
            words.extend_from_slice(&self.words[end..]);
            joined.push(words);
        };
        let mut from = if self.words.len() > JOINED_WORDS_MAX { self.words.len() } else { 0 };
        while from < self.words.len() {
            let count = self.words[from..].iter().take_while(|word| is_letters(word)).count();
            let end = from + count;
            if count > 1 && level != Level::Any && self.words[from..end].iter().all(|word| is_pinyin(&word.text)) {
                join(from, end);
            }
            if count > 1 && matches!(level, Level::Relaxed | Level::Typing) {
                (from..end - 1).for_each(|at| join(at, at + 2));
            }
            from = end.max(from + 1);
        }
        joined
    }

    /// What ranks a product higher without being asked for: words in their order, and values that are the words.
    fn bonuses(&self) -> Vec<Clause> {
        let mut bonuses = Vec::new();
        if self.words.len() > 1 {
            let words = self.words.iter().flat_map(|word| word.units.clone()).collect();
            bonuses.push(Clause::Phrase { field: Field::Unit, words, is_open: false, weight: Weight::points(4) });
        }
        let count = self.words.len().min(QUERY_VALUES_WORDS_MAX);
        for from in 0..count {
            for end in from + 2..=count.min(from + SPAN_WORDS_MAX) {
                let word: String = self.words[from..end].iter().map(|word| word.text.as_str()).collect();
                let points = u32::try_from(end - from).unwrap_or(0) * 4;
                bonuses.push(Clause::Word { field: Field::Value, word, weight: Weight::points(points) });
            }
        }
        bonuses
    }
}

/// Words of a query that are compared with whole values together.
const QUERY_VALUES_WORDS_MAX: usize = 8;

/// The weight of a word when not every word of the query matches.
fn telling(word: &QueryWord) -> u32 {
    match (&word.kind, word.letters()) {
        (WordKind::Digits, ..=2) | (_, 1) => 50,
        (WordKind::Mixed, _) | (_, 3..) => 150,
        (WordKind::Chinese | WordKind::Letters, ..=2) => 100,
    }
}

/// The ways to find one word.
struct Choices {
    scale: u32,
    found: Vec<Clause>,
}

impl Choices {
    const fn weight(&self, points: u32, percent: u32) -> Weight {
        Weight::points(points).percent(percent).percent(self.scale)
    }

    fn one(&mut self, field: Field, word: &str, points: u32) {
        let weight = self.weight(points, 100);
        self.found.push(Clause::Word { field, word: word.to_owned(), weight });
    }

    fn exact(&mut self, word: &str, percent: u32) {
        let fields = [
            (Field::Title, 8),
            (Field::Value, 8),
            (Field::Category, 7),
            (Field::TitlePart, 5),
            (Field::Detail, 5),
            (Field::CategoryPart, 4),
            (Field::DetailPart, 3),
        ];
        for (field, points) in fields {
            let weight = self.weight(points, percent);
            self.found.push(Clause::Word { field, word: word.to_owned(), weight });
        }
    }

    fn prefix(&mut self, prefix: &str) {
        for (field, points) in [(Field::Title, 3), (Field::TitlePart, 3), (Field::Category, 3), (Field::Detail, 2)] {
            let weight = self.weight(points, 100);
            self.found.push(Clause::Prefix { field, prefix: prefix.to_owned(), weight });
        }
    }

    fn typo(&mut self, word: &str) {
        for (field, points) in [(Field::Title, 4), (Field::TitlePart, 3), (Field::Category, 3), (Field::Detail, 2)] {
            let weight = self.weight(points, 100);
            self.found.push(Clause::Typo { field, word: word.to_owned(), weight });
        }
    }

    fn phrase(&mut self, units: &[String], points: u32) {
        let weight = self.weight(points, 100);
        match units {
            [] => {}
            [unit] => {
                self.found.push(Clause::Word { field: Field::Unit, word: unit.clone(), weight: self.weight(2, 100) })
            }
            units => {
                let words = units.to_vec();
                self.found.push(Clause::Phrase { field: Field::Unit, words, is_open: false, weight });
            }
        }
    }

    fn chinese(&mut self, word: &QueryWord, is_loose: bool) {
        // Two characters that follow each other in other words are often no word (花生 in 鲜花生日); three are.
        if is_loose || word.letters() != 2 {
            self.phrase(&word.units, 3);
        }
        // 黑色 is the colour 黑.
        if let [first, second] = word.units.as_slice()
            && second == "色"
        {
            self.one(Field::Value, first, 7);
        }
    }

    /// The characters of a short word anywhere in a text: 男鞋 in 男子运动鞋.
    fn scattered(&mut self, word: &QueryWord) {
        if word.kind == WordKind::Chinese && (2..=3).contains(&word.letters()) {
            let weight = self.weight(1, 50);
            let unit = |unit: &String| Clause::Word { field: Field::Unit, word: unit.clone(), weight };
            self.found.push(Clause::all(word.units.iter().map(unit).collect()));
        }
    }

    /// Pinyin or initials of two words that do not follow each other; the second may lack its end where `is_open`.
    fn splits(&mut self, text: &str, is_open: bool) {
        if text.len() > SPLIT_LETTERS_MAX {
            return;
        }
        let end_min = if is_open { 1 } else { SPLIT_PIECE_MIN };
        let ends = SPLIT_PIECE_MIN..=text.len().saturating_sub(end_min);
        let pieces: Vec<(&str, &str)> = ends.filter_map(|at| text.split_at_checked(at)).collect();
        let both = |field, left: &str, right: &str, is_open: bool, weight| {
            let left = Clause::Word { field, word: left.to_owned(), weight };
            let right = right.to_owned();
            Clause::all(vec![
                left,
                if is_open {
                    Clause::Prefix { field, prefix: right, weight }
                } else {
                    Clause::Word { field, word: right, weight }
                },
            ])
        };
        let is_end = |right: &str| if is_open { !begun_syllables(right).is_empty() } else { is_pinyin(right) };
        let spelled = pieces.iter().filter(|(left, right)| is_pinyin(left) && is_end(right)).take(SPLITS_MAX);
        let weight = self.weight(2, 100);
        let mut found: Vec<Clause> =
            spelled.map(|(left, right)| both(Field::Pinyin, left, right, is_open, weight)).collect();
        if !is_open && text.len() <= SPLIT_INITIALS_MAX {
            let weight = self.weight(1, 100);
            found.extend(pieces.iter().map(|(left, right)| both(Field::Initials, left, right, false, weight)));
        }
        self.found.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{CLAUSE_LEAVES_MAX, QUERY_CHARS_MAX},
        text::Synonyms,
    };

    fn leaves(analyzer: &Analyzer, text: &str, level: Level) -> usize {
        let text: String = text.chars().take(QUERY_CHARS_MAX).collect();
        let Some(plan) = Plan::new(analyzer, &text) else { return 0 };
        let mut count = 0;
        plan.clause(level).leaves(&mut |_| count += 1);
        count
    }

    #[test]
    fn clauses_are_limited() {
        let letters: String = ('a'..='z').flat_map(|a| [a.to_string(), format!("{a}xyzuv{a} ")]).collect();
        let many = [
            "pro max ".repeat(40),
            letters,
            ('a'..='z').map(|a| format!("{a}anxi ")).collect(),
            (10..99).map(|at| format!("a{at}bcdefg{at} ")).collect(),
            "智能手机壳蓝牙耳机笔记本电脑空气净化器扫地机器人".repeat(11),
            "hwsj sjke lyqc dnbb xyj kqzg bwbs zpxx".to_owned(),
            "shouji huawei xiaomi diannao".to_owned(),
            "wh-1000xm5 rx-7800xt iphone15pro256gb a1b2c3d4".repeat(4),
        ];
        let phrases =
            |start: usize| (start..start + 15).map(|at| format!("w{at} x{at} y{at} z{at}")).collect::<Vec<_>>();
        let rules: String = many[5]
            .split(' ')
            .enumerate()
            .map(|(at, word)| format!("{word} => {}\n", phrases(at * 15).join(", ")))
            .collect();
        let (synonyms, errors) = Synonyms::parse(&rules);
        assert!(errors.is_empty(), "{errors:?}");
        for (text, synonyms) in many.iter().map(|text| (text, Synonyms::default())).chain([(&many[5], synonyms)]) {
            let analyzer = Analyzer::new(synonyms);
            for level in [Level::Exact, Level::Relaxed, Level::Any, Level::Typing] {
                let leaves = leaves(&analyzer, text, level);
                assert!((1..=CLAUSE_LEAVES_MAX).contains(&leaves), "{leaves} conditions at {level:?} of {text}");
            }
        }
    }
}
