//! Full-text search of products.
//!
//! [`SearchIndex`] is the seam; [`Embedded`] keeps the index in this process, [`Elastic`] in a cluster. Words are found by one
//! [`Analyzer`], scores are sums of fixed weights, and highlights are made here, so every index gives the same answers.
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "elastic"), allow(dead_code, reason = "both indexes share it, and one is not built"))]

pub mod conformance;
mod cursor;
mod document;
#[cfg(feature = "elastic")]
mod elastic;
mod embedded;
mod fnv;
pub mod generator;
mod index;
mod invalid;
pub mod limits;
mod page;
mod plan;
mod product;
mod request;
mod text;

#[cfg(feature = "elastic")]
pub use elastic::{Elastic, ElasticSettings};
pub use embedded::Embedded;
pub use index::{Advance, IndexError, NO_INDEX_YET, Outcome, Position, Rebuild, SearchError, SearchIndex, Size, State};
pub use invalid::InvalidRequest;
pub use product::{Attribute, Category, Change, Offer, Product};
pub use request::{CategoryCount, Facets, Hit, Page, PriceCount, SearchRequest, Sort, Suggestion};
pub use text::{Analyzer, Fragment, SynonymError, Synonyms};
