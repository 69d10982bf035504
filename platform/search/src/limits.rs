//! Every limit of the crate, with its unit last.

/// Characters of a query. A product's whole title fits.
pub const QUERY_CHARS_MAX: usize = 256;
/// Words of a query that are searched for; the words after them are ignored.
pub const QUERY_WORDS_MAX: usize = 32;
/// Ways of reading one query (synonyms, joined words).
pub const READINGS_MAX: usize = 4;
/// Words of all the phrases that the words of one query mean besides themselves.
pub const MEANING_WORDS_MAX: usize = 24;
/// Words of a query that one synonym, one joined word or one attribute value may cover.
pub const SPAN_WORDS_MAX: usize = 4;

/// Conditions on words in one clause: what every server takes.
pub const CLAUSE_LEAVES_MAX: usize = 1_000;

/// Hits on one page.
pub const PAGE_HITS_MAX: usize = 100;
/// Hits by relevance over all pages; refine the query to see others.
pub const RELEVANT_HITS_MAX: usize = 1_000;
/// Suggestions of one answer.
pub const SUGGESTIONS_MAX: usize = 20;
/// Characters of a cursor.
pub const CURSOR_CHARS_MAX: usize = 128;
/// Categories counted in one answer, those with the most hits.
pub const FACET_CATEGORIES_MAX: usize = 50;
/// Bounds between price bands of one answer.
pub const FACET_PRICE_BOUNDS_MAX: usize = 16;

/// Letters that a search needs before it takes the last word for the beginning of a longer one.
pub const PREFIX_LETTERS_MIN: usize = 3;
/// Indexed words that one prefix expands to, the first in the order of their bytes.
pub const PREFIX_EXPANSIONS_MAX: usize = 2_000;
/// Letters that a word needs before one typo is forgiven.
pub const TYPO_LETTERS_MIN: usize = 5;
/// Indexed words that one mistyped word expands to.
pub const TYPO_EXPANSIONS_MAX: usize = 200;

/// Characters of one indexed word; a longer one is cut into pieces of this length.
pub const WORD_CHARS_MAX: usize = 64;
/// Readings that are indexed of one word with characters of several.
pub const PINYIN_READINGS_MAX: usize = 8;

/// Characters of a product's title or subtitle.
pub const TITLE_CHARS_MAX: usize = 1_000;
/// Attributes of one product, those of its SKUs together.
pub const ATTRIBUTES_MAX: usize = 256;
/// Characters of an attribute's name, an attribute's value or a category's name.
pub const NAME_CHARS_MAX: usize = 256;
/// Categories from the root to a product's own.
pub const CATEGORY_DEPTH_MAX: usize = 16;
/// Prices of one product, one for each SKU.
pub const PRICES_MAX: usize = 1_000;

/// Changes that one call writes.
pub const CHANGES_MAX: usize = 10_000;
/// Products that are read out of an index at once.
pub const PRODUCTS_MAX: usize = 1_000;
/// Bytes of a position in the log.
pub const POSITION_BYTES_MAX: usize = 4_096;

/// Bytes of a file of synonyms.
pub const SYNONYMS_BYTES_MAX: usize = 1 << 20;
/// Rules in a file of synonyms.
pub const SYNONYM_RULES_MAX: usize = 10_000;
/// Phrases in one rule.
pub const SYNONYM_PHRASES_MAX: usize = 16;
