//! Words in a run of Chinese characters.

use std::io::BufReader;

use jieba_rs::Jieba;

const WORDS: &str = include_str!("../../data/words.txt");

/// Cuts Chinese text into words by jieba's dictionary.
///
/// The hidden Markov model for unknown words is off: it cuts the same name differently in a title and in a query. An unknown
/// word is a run of single characters instead, and both sides put such a run together again.
pub(crate) struct Segmenter(Jieba);

impl Segmenter {
    pub(crate) fn new() -> Self {
        let mut dictionary = BufReader::new(WORDS.as_bytes());
        match Jieba::with_dict(&mut dictionary) {
            Ok(jieba) => Self(jieba),
            Err(error) => unreachable!("data/words.txt is part of the crate: {error}"),
        }
    }

    /// The number of characters of each word.
    pub(crate) fn cut(&self, run: &str) -> Vec<usize> {
        self.0.cut(run, false).into_iter().map(|token| token.word.chars().count()).collect()
    }

    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.0.has_word(word)
    }
}

#[cfg(test)]
mod tests {
    use crate::text::Analyzer;

    #[test]
    fn words_are_those_of_the_dictionary() {
        let check = |run: &str, expect: &[usize]| {
            assert_eq!(Analyzer::shared().segmenter.cut(run), expect, "{run}");
        };
        check("华为手机", &[2, 2]);
        check("智能手机", &[4]);
        check("笔记本电脑", &[5]);
        check("纯棉连衣裙", &[2, 3]);
        check("", &[]);
    }
}
