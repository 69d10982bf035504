//! One spelling for what a reader takes for the same character.
//!
//! NFKC (full and half width, ligatures, circled numbers), lower case, Latin letters without their accents, and simplified
//! characters for traditional ones. Each resulting character knows where in the original text it came from.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// A normalised character and the bytes of the original text that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Character {
    pub value: char,
    /// Whether it was an upper case letter.
    pub is_upper: bool,
    pub start: usize,
    pub end: usize,
}

/// Each line has a traditional character and its simplified form.
static SIMPLIFIED: LazyLock<FxHashMap<char, char>> = LazyLock::new(|| {
    let pairs = include_str!("../../data/traditional.txt").lines().filter_map(|line| {
        let mut chars = line.chars();
        Some((chars.next()?, chars.next()?))
    });
    pairs.collect()
});

pub(crate) fn normalize(text: &str) -> Vec<Character> {
    let mut characters = Vec::with_capacity(text.len());
    let mut rest = text.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        let mut end = start + first.len_utf8();
        while let Some((at, mark)) = rest.next_if(|(_, next)| combines(*next)) {
            end = at + mark.len_utf8();
        }
        if first.is_ascii() && end == start + 1 {
            let (value, is_upper) = (first.to_ascii_lowercase(), first.is_ascii_uppercase());
            characters.push(Character { value, is_upper, start, end });
        } else {
            let mut is_upper = first.is_uppercase();
            fold(&text[start..end], |value| {
                characters.push(Character { value, is_upper, start, end });
                is_upper = false;
            });
        }
    }
    characters
}

/// Whether `next` belongs to the character before it. What half width voicing marks and some vowel signs are made of does,
/// though they are no combining characters themselves.
fn combines(next: char) -> bool {
    let is_mark = |next: char| next.nfkd().next().is_some_and(|part| canonical_combining_class(part) != 0);
    !next.is_ascii() && (is_invisible(next) || is_mark(next))
}

/// Soft hyphen, joiners and variation selectors. They are dropped, so a mark after them belongs to the character before them.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Passes the normalised characters of one character and its marks to `emit`.
fn fold(cluster: &str, mut emit: impl FnMut(char)) {
    // Some capital letters beyond the Latin blocks have a small letter in them.
    let in_blocks = |base: char| base.is_alphabetic() && base < '\u{250}';
    let is_latin = cluster.nfkd().next().is_some_and(|base| in_blocks(base) || base.to_lowercase().any(in_blocks));
    let composed: String = if is_latin {
        cluster.nfkd().filter(|part| canonical_combining_class(*part) == 0).collect()
    } else {
        cluster.nfkc().collect()
    };
    for lower in composed.chars().flat_map(char::to_lowercase) {
        match lower {
            'ß' => "ss".chars().for_each(&mut emit),
            'æ' => "ae".chars().for_each(&mut emit),
            'œ' => "oe".chars().for_each(&mut emit),
            'ø' => emit('o'),
            'ł' => emit('l'),
            'đ' => emit('d'),
            'ı' => emit('i'),
            'ς' => emit('σ'),
            // What lower case makes of İ: i with a dot above.
            '\u{307}' => {}
            invisible if is_invisible(invisible) => {}
            other => emit(SIMPLIFIED.get(&other).copied().unwrap_or(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalized(text: &str) -> String {
        normalize(text).into_iter().map(|character| character.value).collect()
    }

    #[test]
    fn what_looks_alike_is_alike() {
        let check = |text: &str, expect: &str| assert_eq!(normalized(text), expect, "{text:?}");
        check("iPhone", "iphone");
        check("ＩＰＨＯＮＥ　１５", "iphone 15");
        check("②㎏", "2kg");
        check("ｶﾞﾝﾀﾞﾑ", "ガンダム");
        check("Nestlé L’Oréal", "nestle l’oreal");
        check("e\u{301}", "e");
        check("Straße", "strasse");
        check("İstanbul", "istanbul");
        check("華為手機", "华为手机");
        check("國際", "国际");
        check("\u{a7dc}\u{6df}", "ƛ");
        check("A\u{fe00}\u{1abf}", "a");
        check("", "");
    }

    #[test]
    fn characters_know_where_they_came_from() {
        let text = "a㎏é華";
        let spans: Vec<(char, &str)> =
            normalize(text).into_iter().map(|one| (one.value, &text[one.start..one.end])).collect();
        assert_eq!(spans, [('a', "a"), ('k', "㎏"), ('g', "㎏"), ('e', "é"), ('华', "華")]);
    }

    proptest! {
        #[test]
        fn spans_are_ordered_and_within_the_text(text in "\\PC{0,60}|[\u{0}-\u{2ff}ｶﾞ㎏éİ華]{0,40}") {
            let mut last = 0;
            for one in normalize(&text) {
                prop_assert!(one.start >= last && one.start < one.end && one.end <= text.len());
                prop_assert!(text.is_char_boundary(one.start) && text.is_char_boundary(one.end));
                last = one.start;
            }
        }

        #[test]
        fn normalising_again_changes_nothing(text in "\\PC{0,60}") {
            let once = normalized(&text);
            prop_assert_eq!(normalized(&once), once);
        }
    }
}
