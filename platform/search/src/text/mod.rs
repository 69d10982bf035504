//! What words a text has. Pure: no IO, no clock, the same for every index.

mod forms;
mod highlight;
mod normalize;
mod pinyin;
mod segment;
mod syllables;
mod synonyms;
mod token;

use std::sync::{Arc, LazyLock};

use frostem::{Algorithm, Stemmer};

pub(crate) use forms::{Form, FormKind, forms};
pub use highlight::Fragment;
pub(crate) use highlight::highlight;
pub(crate) use pinyin::initials;
pub(crate) use syllables::{begun_syllables, is_pinyin, syllables};
pub use synonyms::{SynonymError, Synonyms};
pub(crate) use token::{Script, Tokens};

use segment::Segmenter;

/// Finds the words of titles and of queries. Cheap to clone.
#[derive(Clone)]
pub struct Analyzer {
    segmenter: Arc<Segmenter>,
    stemmer: Stemmer,
    synonyms: Arc<Synonyms>,
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyzer").field("synonyms", &self.synonyms).finish_non_exhaustive()
    }
}

impl Analyzer {
    /// An analyser with `synonyms`. The first one of a process reads the dictionary, which takes a fraction of a second.
    pub fn new(synonyms: Synonyms) -> Self {
        Self { synonyms: Arc::new(synonyms), ..Self::shared().clone() }
    }

    /// The analyser without synonyms.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Analyzer> = LazyLock::new(|| Analyzer {
            segmenter: Arc::new(Segmenter::new()),
            stemmer: Stemmer::new(Algorithm::English),
            synonyms: Arc::default(),
        });
        &SHARED
    }

    pub(crate) fn tokens(&self, text: &str) -> Tokens {
        token::tokenize(&normalize::normalize(text), &self.segmenter)
    }

    /// The words of `text` alone, in the form in which queries have them.
    pub(crate) fn words(&self, text: &str) -> Vec<String> {
        self.tokens(text).words.into_iter().map(|word| word.text).collect()
    }

    pub(crate) fn is_known(&self, word: &str) -> bool {
        self.segmenter.has_word(word)
    }

    /// The stem of a word of Latin letters.
    pub(crate) fn stem(&self, word: &str) -> Option<String> {
        if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let stem = self.stemmer.stem(word);
        (stem != word && !stem.is_empty()).then(|| stem.into_owned())
    }

    pub(crate) fn synonyms(&self) -> &Synonyms {
        &self.synonyms
    }
}
