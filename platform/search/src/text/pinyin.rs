//! The Latin spelling of Chinese words.

use pinyin::ToPinyinMulti;

use crate::limits::PINYIN_READINGS_MAX;

/// How a word is spelled: all of it, and the first letter of each character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spelling {
    pub full: String,
    pub initials: String,
}

/// Readings of `word`, the usual one first; none where a character has no reading.
///
/// The dictionary of readings goes by character, so a word of characters with several readings has several spellings here, of
/// which only one is right. The others are words that nobody types.
pub(crate) fn spellings(word: &str) -> Vec<Spelling> {
    let mut spellings = vec![Spelling { full: String::new(), initials: String::new() }];
    for character in word.chars() {
        let Some(readings) = character.to_pinyin_multi() else { return Vec::new() };
        let mut plain: Vec<&str> = Vec::new();
        for reading in readings {
            if !plain.contains(&reading.plain()) {
                plain.push(reading.plain());
            }
        }
        let mut longer = Vec::new();
        // The usual reading of every character so far comes first, so the limit drops the rarest.
        for syllable in plain {
            for spelling in &spellings {
                if longer.len() < PINYIN_READINGS_MAX {
                    longer.push(spelling.and(syllable));
                }
            }
        }
        spellings = longer;
    }
    spellings.retain(|spelling| !spelling.full.is_empty());
    spellings
}

/// The first letters of a word's usual reading.
pub(crate) fn initials(word: &str) -> Option<String> {
    spellings(word).into_iter().next().map(|spelling| spelling.initials)
}

impl Spelling {
    fn and(&self, syllable: &str) -> Self {
        let mut longer = self.clone();
        for (at, letter) in syllable.chars().enumerate() {
            // Keyboards have no ü: people type v.
            let letter = match letter {
                'ü' => 'v',
                'ê' => 'e',
                other => other,
            };
            longer.full.push(letter);
            if at == 0 {
                longer.initials.push(letter);
            }
        }
        longer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(word: &str) -> Vec<String> {
        spellings(word).into_iter().map(|spelling| spelling.full).collect()
    }

    #[test]
    fn words_are_spelled_as_they_are_typed() {
        assert_eq!(full("手机")[0], "shouji");
        assert_eq!(full("女鞋")[0], "nvxie");
        assert_eq!(spellings("华为")[0].initials, "hw");
        assert!(full("音乐").contains(&"yinyue".to_owned()));
        assert!(full("银行").contains(&"yinhang".to_owned()));
        assert!(full("重庆").contains(&"chongqing".to_owned()));
        assert!(spellings("").is_empty());
        assert!(spellings("手a").is_empty());
    }

    #[test]
    fn readings_are_limited() {
        assert_eq!(spellings("行行行行行行行行").len(), PINYIN_READINGS_MAX);
    }
}
