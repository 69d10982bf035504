//! Units and words of a text.
//!
//! A unit is what phrases are made of: one Chinese character, one run of letters, one number. `RX-7800XT` is the units `rx`,
//! `7800`, `xt`. A word is what somebody searches for: units that are written together, without the signs that connect them.

use std::ops::Range;

use super::{normalize::Character, segment::Segmenter};
use crate::limits::WORD_CHARS_MAX;

/// Units of one word of letters and digits; what follows begins another word.
const WORD_UNITS_MAX: usize = 8;
/// Unknown Chinese characters that are taken for one name.
const NAME_CHARS_MAX: usize = 8;
/// What directly follows a number is no part of the word after it: 20片面膜 are pieces of 面膜.
const MEASURES: &str = "片米升克寸度段人档码号件套只条瓶盒包袋罐支颗粒个双副台岁代期匹格层孔色";
/// Single characters that say something about the word after them, or about none, rather than continue the word before them.
const NOT_A_HEAD: &str = "的了和与及或在是有为不大小新老旧高低长短厚薄轻重多少全超加可带送男女软硬冷热干湿黑白红黄蓝绿紫灰粉金银双单\
                          一二三四五六七八九十个件只条款版型";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Chinese,
    Letters,
    Digits,
}

/// The smallest piece of text that is searched for, with its place in the original text in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub text: String,
    pub script: Script,
    pub start: usize,
    pub end: usize,
}

/// Units that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its units one after the other.
    pub text: String,
    pub units: Range<usize>,
    /// The words that it is composed of, where there is more than one: by the dictionary, or by signs between them.
    pub parts: Vec<Range<usize>>,
    /// Pieces that begin with a capital after a small letter (`Air` and `Pods`), with their places in the original text.
    pub humps: Vec<(String, Range<usize>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub units: Vec<Unit>,
    pub words: Vec<Word>,
}

impl Tokens {
    pub(crate) fn is_chinese(&self, word: &Word) -> bool {
        self.units[word.units.start].script == Script::Chinese
    }

    pub(crate) fn text(&self, units: Range<usize>) -> String {
        self.units[units].iter().map(|unit| unit.text.as_str()).collect()
    }

    /// The bytes of the original text that `units` were made from.
    pub(crate) fn span(&self, units: &Range<usize>) -> Range<usize> {
        self.units[units.start].start..self.units[units.end - 1].end
    }
}

pub(crate) fn tokenize(characters: &[Character], segmenter: &Segmenter) -> Tokens {
    let mut tokens = Tokens::default();
    let mut at = 0;
    while at < characters.len() {
        at = match script(characters[at].value) {
            Some(Script::Chinese) => chinese_run(characters, at, segmenter, &mut tokens),
            Some(Script::Letters | Script::Digits) => latin_word(characters, at, &mut tokens),
            None => at + 1,
        };
    }
    tokens
}

fn script(character: char) -> Option<Script> {
    match character {
        'a'..='z' => Some(Script::Letters),
        '0'..='9' => Some(Script::Digits),
        _ if character.is_ascii() => None,
        '々' | '〇' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
            Some(Script::Chinese)
        }
        _ if character.is_numeric() => Some(Script::Digits),
        _ if character.is_alphabetic() => Some(Script::Letters),
        _ => None,
    }
}

/// Whether a sign between two letters or digits leaves them one word: `T-shirt`, `L'Oréal`, `H&M`.
const fn connects(character: char) -> bool {
    matches!(character, '-' | '_' | '\'' | '’' | '.' | '&' | '\u{2010}'..='\u{2013}')
}

fn latin_word(characters: &[Character], from: usize, tokens: &mut Tokens) -> usize {
    let first_unit = tokens.units.len();
    let mut parts = Vec::new();
    let mut part_start = first_unit;
    let mut word_chars = 0;
    let mut at = from;
    while tokens.units.len() - first_unit < WORD_UNITS_MAX {
        let end = unit_end(characters, at).min(at + WORD_CHARS_MAX);
        if word_chars > 0 && word_chars + (end - at) > WORD_CHARS_MAX {
            break;
        }
        word_chars += end - at;
        push_unit(&characters[at..end], tokens);
        at = end;
        let is_latin = |at: usize| characters.get(at).is_some_and(|next| is_latin(next.value));
        if is_latin(at) {
            continue;
        }
        if characters.get(at).is_some_and(|sign| connects(sign.value)) && is_latin(at + 1) {
            parts.push(part_start..tokens.units.len());
            part_start = tokens.units.len();
            at += 1;
            continue;
        }
        break;
    }
    let units = first_unit..tokens.units.len();
    if !parts.is_empty() && part_start < units.end {
        parts.push(part_start..units.end);
    }
    let humps = humps(&characters[from..at]);
    tokens.words.push(Word { text: tokens.text(units.clone()), units, parts, humps });
    at
}

fn humps(word: &[Character]) -> Vec<(String, Range<usize>)> {
    let rises = |at: &usize| word[*at].is_upper && !word[at - 1].is_upper && word[at - 1].value.is_alphabetic();
    let starts: Vec<usize> = (1..word.len()).filter(rises).collect();
    if starts.is_empty() {
        return Vec::new();
    }
    let ends = starts.iter().copied().chain([word.len()]);
    let piece = |(start, end): (usize, usize)| {
        let letters = word[start..end].iter().filter(|character| script(character.value).is_some());
        let text: String = letters.map(|character| character.value).collect();
        (text, word[start].start..word[end - 1].end)
    };
    [0].into_iter().chain(starts.iter().copied()).zip(ends).map(piece).collect()
}

fn is_latin(character: char) -> bool {
    matches!(script(character), Some(Script::Letters | Script::Digits))
}

/// The end of the unit that begins at `from`. A point between digits belongs to the number.
fn unit_end(characters: &[Character], from: usize) -> usize {
    let value = |at: usize| characters.get(at).map(|character| character.value);
    let kind = script(characters[from].value);
    let mut end = from + 1;
    while let Some(next) = value(end) {
        let is_point =
            next == '.' && kind == Some(Script::Digits) && value(end + 1).is_some_and(|after| after.is_ascii_digit());
        // Signs inside of words of some scripts are no letters by themselves.
        if script(next) != kind && !is_point && !unicode_normalization::char::is_combining_mark(next) {
            break;
        }
        end += 1;
    }
    end
}

fn push_unit(characters: &[Character], tokens: &mut Tokens) {
    let (Some(first), Some(last)) = (characters.first(), characters.last()) else { return };
    tokens.units.push(Unit {
        text: characters.iter().map(|character| character.value).collect(),
        script: script(first.value).unwrap_or(Script::Letters),
        start: first.start,
        end: last.end,
    });
}

fn chinese_run(characters: &[Character], from: usize, segmenter: &Segmenter, tokens: &mut Tokens) -> usize {
    let length = characters[from..].iter().take_while(|next| script(next.value) == Some(Script::Chinese)).count();
    let run = &characters[from..from + length];
    let first_unit = tokens.units.len();
    for character in run {
        push_unit(std::slice::from_ref(character), tokens);
    }
    let counted = from.checked_sub(1).is_some_and(|before| script(characters[before].value) == Some(Script::Digits));
    let measure = usize::from(counted && run.first().is_some_and(|first| MEASURES.contains(first.value)));
    let text: String = run[measure..].iter().map(|character| character.value).collect();
    let mut pieces = Vec::new();
    pieces.extend((measure > 0).then_some(0..1));
    let mut start = measure;
    for chars in segmenter.cut(&text) {
        pieces.push(start..start + chars);
        start += chars;
    }
    for mut parts in compose(&pieces, run, measure > 0) {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { continue };
        let units = first_unit + first.start..first_unit + last.end;
        for part in &mut parts {
            *part = first_unit + part.start..first_unit + part.end;
        }
        if parts.len() == 1 {
            parts.clear();
        }
        tokens.words.push(Word { text: tokens.text(units.clone()), units, parts, humps: Vec::new() });
    }
    from + length
}

/// Puts together what the dictionary cut too small: runs of single characters (names that it does not know), and a word with
/// the single character that ends the compound (手机 and 壳).
fn compose(pieces: &[Range<usize>], run: &[Character], has_measure: bool) -> Vec<Vec<Range<usize>>> {
    let is_single = |at: usize| pieces.get(at).is_some_and(|piece| piece.len() == 1);
    let is_head = |at: usize| is_single(at) && !NOT_A_HEAD.contains(run[pieces[at].start].value);
    let mut words = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let mut end = at + 1;
        if is_single(at) && !(at == 0 && has_measure) {
            while is_single(end) && end - at < NAME_CHARS_MAX {
                end += 1;
            }
        } else if pieces[at].len() > 1 && is_head(end) && !is_single(end + 1) {
            end += 1;
        }
        words.push(pieces[at..end].to_vec());
        at = end;
    }
    words
}

#[cfg(test)]
mod tests {
    use crate::text::Analyzer;

    fn check(text: &str, words: &str, units: &str) {
        let tokens = Analyzer::shared().tokens(text);
        let found: Vec<&str> = tokens.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(found.join(" "), words, "words of {text:?}");
        let found: Vec<&str> = tokens.units.iter().map(|unit| unit.text.as_str()).collect();
        assert_eq!(found.join(" "), units, "units of {text:?}");
    }

    #[test]
    fn letters_and_digits_are_units_of_one_word() {
        check("iPhone15Pro", "iphone15pro", "iphone 15 pro");
        check("256GB", "256gb", "256 gb");
        check("RX-7800XT", "rx7800xt", "rx 7800 xt");
        check("3.5mm", "3.5mm", "3.5 mm");
        check("L'Oréal T-shirt H&M", "loreal tshirt hm", "l oreal t shirt h m");
        check("a--b c-", "a b c", "a b c");
        check("16GB+512GB", "16gb 512gb", "16 gb 512 gb");
        check("1.", "1", "1");
    }

    #[test]
    fn chinese_is_cut_into_words() {
        check("华为Mate60手机", "华为 mate60 手机", "华 为 mate 60 手 机");
        check("智能手机", "智能手机", "智 能 手 机");
        check("手机壳", "手机壳", "手 机 壳");
        check("20片面膜", "20 片 面膜", "20 片 面 膜");
        check("大内存手机大屏", "大 内存 手机 大屏", "大 内 存 手 机 大 屏");
    }

    #[test]
    fn signs_alone_are_nothing() {
        check("", "", "");
        check(" \t\n\0\u{7f}!?*\"'()[]{}~^\\/:;,.…—【】「」★❤️🔥", "", "");
    }

    #[test]
    fn long_words_are_cut() {
        let tokens = Analyzer::shared().tokens(&"a".repeat(200));
        let lengths: Vec<usize> = tokens.words.iter().map(|word| word.text.len()).collect();
        assert_eq!(lengths, [64, 64, 64, 8]);
        let tokens = Analyzer::shared().tokens(&"a1".repeat(200));
        assert!(tokens.words.iter().all(|word| word.text.len() <= 64 && word.units.len() <= super::WORD_UNITS_MAX));
    }
}
