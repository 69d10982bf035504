//! Section `search`.

use std::path::PathBuf;

use super::{Check, Secret, raw, servers::host_of};

/// An Elasticsearch or OpenSearch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchConfig {
    /// `http` or `https`, with user and password where the server asks for them.
    pub url: Secret,
    /// The name under which the index is searched.
    pub index: String,
    /// Certificates in PEM that are trusted instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
}

impl Check {
    pub(super) fn search(&mut self, raw: raw::Search) -> Option<SearchConfig> {
        let url = self.url("search.url", raw.url, &["https", "http"])?;
        if url.expose().starts_with("http://") {
            self.plaintext("search.url", host_of(url.expose()), raw.allow_plaintext, "https://");
        }
        Some(SearchConfig { url, index: raw.index, ca_file: raw.ca_file.map(PathBuf::from) })
    }
}
