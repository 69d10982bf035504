//! Words that follow each other in a text.

/// The first words of a phrase that are looked for at once, one bit each.
const AT_ONCE_MAX: usize = 64;

/// A phrase, ready to be looked for in many texts.
pub(super) struct Phrase<'a> {
    /// By the number of a unit, a bit for each of the first words that it may stand for.
    places: Vec<u64>,
    /// The bit of the last of these words.
    last: u64,
    /// The units that each of the words after them may be.
    rest: &'a [Vec<u32>],
}

impl<'a> Phrase<'a> {
    /// A phrase of words that may each be one of several units, of `units` units in all.
    pub(super) fn new(words: &'a [Vec<u32>], units: usize) -> Self {
        assert!(!words.is_empty(), "a phrase of no words is in every text");
        let (first, rest) = words.split_at(words.len().min(AT_ONCE_MAX));
        let mut places = vec![0; units];
        for (at, word) in first.iter().enumerate() {
            word.iter().for_each(|unit| places[*unit as usize] |= 1 << at);
        }
        Self { places, last: 1 << (first.len() - 1), rest }
    }

    /// Whether a text has it. Each unit is looked at once: a bit of `begun` says that the text has the words up to this one here.
    pub(super) fn is_in(&self, text: &[u32]) -> bool {
        let mut begun = 0_u64;
        text.iter().enumerate().any(|(at, unit)| {
            begun = (begun << 1 | 1) & self.places[*unit as usize];
            begun & self.last > 0 && self.rest_begins(&text[at + 1..])
        })
    }

    /// Whether a text begins with it.
    pub(super) fn begins(&self, text: &[u32]) -> bool {
        let mut place = 1_u64;
        for (at, unit) in text.iter().enumerate() {
            if self.places[*unit as usize] & place == 0 {
                return false;
            }
            if place == self.last {
                return self.rest_begins(&text[at + 1..]);
            }
            place <<= 1;
        }
        false
    }

    fn rest_begins(&self, text: &[u32]) -> bool {
        self.rest.len() <= text.len() && self.rest.iter().zip(text).all(|(word, unit)| word.contains(unit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: u32 = 4;

    proptest! {
        #[test]
        fn a_phrase_is_found_where_its_words_follow_each_other(
            text in prop::collection::vec(0..UNITS, 0..30),
            words in prop::collection::vec(prop::collection::vec(0..UNITS, 1..3), 1..5),
        ) {
            let mut windows = text.windows(words.len());
            let expect = windows.any(|window| window.iter().zip(&words).all(|(unit, word)| word.contains(unit)));
            let phrase = Phrase::new(&words, UNITS as usize);
            prop_assert_eq!(phrase.is_in(&text), expect);
            prop_assert_eq!((0..text.len()).any(|at| phrase.begins(&text[at..])), expect);
        }

        #[test]
        fn the_words_of_a_long_phrase_all_count(before in 0..3_usize, count in 60..80_usize, wrong in 0..80_usize) {
            let text: Vec<u32> = std::iter::repeat_n(1, before).chain((0..count).map(|_| 0)).collect();
            let mut words = vec![vec![0]; count];
            prop_assert!(Phrase::new(&words, 3).is_in(&text));
            words[wrong % count] = vec![2];
            prop_assert!(!Phrase::new(&words, 3).is_in(&text));
        }
    }
}
