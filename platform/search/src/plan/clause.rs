//! What an index is asked: a tree of conditions with scores, without any engine's query language.

use crate::text::FormKind;

/// Where a word is looked for. Every field is a list of words with spaces between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    /// Words of the title.
    Title,
    /// The first of them.
    Start,
    /// Parts of these words, their stems, and neighbours taken for one word.
    TitlePart,
    /// Words of the product's own category.
    Category,
    /// Parts of these words, and the words of the categories above.
    CategoryPart,
    /// Words of the subtitle and of attribute values.
    Detail,
    /// Parts of these words, and the words of attribute names.
    DetailPart,
    /// Whole names and values: each category, each attribute value.
    Value,
    /// Units of all these texts in their order, for phrases.
    Unit,
    /// The same units as they are pronounced.
    Syllable,
    /// The first letters of these.
    Letter,
    /// Chinese words in Latin letters.
    Pinyin,
    /// The first letters of their syllables.
    Initials,
}

impl Field {
    pub(crate) const ALL: [Self; 13] = [
        Self::Title,
        Self::Start,
        Self::TitlePart,
        Self::Category,
        Self::CategoryPart,
        Self::Detail,
        Self::DetailPart,
        Self::Value,
        Self::Unit,
        Self::Syllable,
        Self::Letter,
        Self::Pinyin,
        Self::Initials,
    ];

    /// Its name in every index.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Start => "start",
            Self::TitlePart => "title_part",
            Self::Category => "category",
            Self::CategoryPart => "category_part",
            Self::Detail => "detail",
            Self::DetailPart => "detail_part",
            Self::Value => "value",
            Self::Unit => "unit",
            Self::Syllable => "syllable",
            Self::Letter => "letter",
            Self::Pinyin => "pinyin",
            Self::Initials => "initials",
        }
    }

    /// Which forms of a text are in it.
    pub(crate) const fn form(self) -> FormKind {
        match self {
            Self::Title | Self::Start | Self::Category | Self::Detail => FormKind::Word,
            Self::TitlePart | Self::CategoryPart | Self::DetailPart => FormKind::Part,
            Self::Value => FormKind::Whole,
            Self::Unit => FormKind::Unit,
            Self::Syllable => FormKind::Syllable,
            Self::Letter => FormKind::Letter,
            Self::Pinyin => FormKind::Pinyin,
            Self::Initials => FormKind::Initials,
        }
    }
}

/// What a match adds to the score.
///
/// Weights are whole 64ths, so that sums of them are exact in every engine's arithmetic, whatever the order: the same
/// product has the same score in each index, and keeps it while other products change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Weight(u32);

impl Weight {
    pub(crate) const fn points(points: u32) -> Self {
        Self(points * 64)
    }

    pub(crate) const fn percent(self, percent: u32) -> Self {
        let scaled = self.0 * percent / 100;
        // A match is never worth nothing: it would look like none.
        Self(if scaled == 0 { 1 } else { scaled })
    }

    /// In 64ths.
    pub(crate) const fn whole(self) -> u32 {
        self.0
    }

    #[expect(clippy::cast_precision_loss, reason = "weights are far below 2^24")]
    pub(crate) const fn score(self) -> f32 {
        self.0 as f32 / 64.0
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Clause {
    /// This word.
    Word { field: Field, word: String, weight: Weight },
    /// A word that begins so.
    Prefix { field: Field, prefix: String, weight: Weight },
    /// A word that one letter more, less, other, or two swapped neighbours make this one.
    Typo { field: Field, word: String, weight: Weight },
    /// These words of a field, one after the other; the last may lack its end where `is_open`.
    Phrase { field: Field, words: Vec<String>, is_open: bool, weight: Weight },
    /// Each of `must`; `should` adds to the score. The scores of what matches are added.
    All { must: Vec<Self>, should: Vec<Self> },
    /// At least one; the scores of those that match are added.
    Any(Vec<Self>),
    /// At least one; the highest score counts.
    Best(Vec<Self>),
}

impl Clause {
    pub(crate) fn all(must: Vec<Self>) -> Self {
        Self::All { must, should: Vec::new() }
    }

    /// Calls `visit` with each condition on words.
    pub(crate) fn leaves<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        match self {
            Self::Word { .. } | Self::Prefix { .. } | Self::Typo { .. } | Self::Phrase { .. } => visit(self),
            Self::All { must, should } => must.iter().chain(should).for_each(|clause| clause.leaves(visit)),
            Self::Any(clauses) | Self::Best(clauses) => clauses.iter().for_each(|clause| clause.leaves(visit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exact() {
        assert_eq!(Weight::points(8).score().to_bits(), 8.0_f32.to_bits());
        let scaled = Weight::points(5).percent(75).score();
        assert_eq!((scaled * 64.0).fract().to_bits(), 0.0_f32.to_bits());
    }
}
