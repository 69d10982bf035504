//! Latin letters as pinyin.

use std::{collections::BTreeSet, sync::LazyLock};

use super::pinyin::spellings;

const SYLLABLE_LETTERS_MAX: usize = 6;
/// Letters that are split into syllables; a longer word is no pinyin that somebody typed.
const LETTERS_MAX: usize = 40;
/// Ways to split a word into syllables.
const SPLITS_MAX: usize = 4;

/// Every syllable that some common Chinese character has.
static SYLLABLES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let readings = ('\u{4e00}'..='\u{9fa5}').flat_map(|character| spellings(character.encode_utf8(&mut [0; 4])));
    let syllables = readings.map(|spelling| spelling.full);
    // Sounds such as ng and hm are readings too.
    syllables.filter(|it| it.len() <= SYLLABLE_LETTERS_MAX && it.contains(['a', 'e', 'i', 'o', 'u', 'v'])).collect()
});

/// Whether `letters` is a sequence of syllables.
pub(crate) fn is_pinyin(letters: &str) -> bool {
    !syllables(letters).is_empty()
}

/// The ways to read `letters` as syllables, those with the fewest first.
pub(crate) fn syllables(letters: &str) -> Vec<Vec<String>> {
    split(letters, |rest| SYLLABLES.contains(rest))
}

/// The ways to read `letters` as syllables of which the last may lack its end.
pub(crate) fn begun_syllables(letters: &str) -> Vec<Vec<String>> {
    split(letters, begins)
}

fn begins(rest: &str) -> bool {
    SYLLABLES.range(rest.to_owned()..).next().is_some_and(|syllable| syllable.starts_with(rest))
}

/// `is_last` decides on the last piece.
fn split(letters: &str, is_last: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    if letters.is_empty() || letters.len() > LETTERS_MAX || !letters.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Vec::new();
    }
    // `splits[at]`: the ways to read the letters from `at`.
    let mut splits: Vec<Vec<Vec<String>>> = vec![Vec::new(); letters.len() + 1];
    for at in (0..letters.len()).rev() {
        let mut found = Vec::new();
        for end in at + 1..=letters.len().min(at + SYLLABLE_LETTERS_MAX) {
            let piece = &letters[at..end];
            if end == letters.len() {
                if is_last(piece) {
                    found.push(vec![piece.to_owned()]);
                }
            } else if !splits[end].is_empty() && SYLLABLES.contains(piece) {
                found.extend(splits[end].iter().map(|rest| [&[piece.to_owned()], rest.as_slice()].concat()));
            }
        }
        found.sort_by_key(Vec::len);
        found.truncate(SPLITS_MAX);
        splits[at] = found;
    }
    splits.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(splits: Vec<Vec<String>>) -> Vec<String> {
        splits.into_iter().map(|split| split.join(" ")).collect()
    }

    #[test]
    fn syllables_are_recognised() {
        for yes in ["shouji", "huaweishouji", "nv", "xian", "a"] {
            assert!(is_pinyin(yes), "{yes}");
        }
        for no in ["", "samsung", "hwsj", "shouj", "手", "Shou"] {
            assert!(!is_pinyin(no), "{no}");
        }
        assert!(!is_pinyin(&"ma".repeat(40)), "too long");
    }

    #[test]
    fn letters_are_split_into_syllables() {
        assert_eq!(joined(syllables("shouji")), ["shou ji"]);
        assert_eq!(joined(syllables("xian")), ["xian", "xi an"]);
        assert_eq!(joined(begun_syllables("shouj")), ["shou j"]);
        assert!(joined(begun_syllables("huaweish")).contains(&"hua wei sh".to_owned()));
        assert!(syllables(&"ana".repeat(13)).len() <= SPLITS_MAX);
    }
}
