//! Where an Elasticsearch or OpenSearch is, and how it is spoken to.

use std::time::Duration;

use crate::index::IndexError;

/// Characters of the name of an index.
const INDEX_CHARS_MAX: usize = 64;

/// How to reach a cluster.
#[derive(Clone)]
pub struct ElasticSettings {
    pub(super) base: String,
    pub(super) user: Option<(String, String)>,
    pub(super) index: String,
    pub(super) certificates: Option<String>,
    pub(super) search_timeout: Duration,
    pub(super) write_timeout: Duration,
}

impl std::fmt::Debug for ElasticSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(user, _)| user);
        f.debug_struct("ElasticSettings")
            .field("base", &self.base)
            .field("user", &user)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl ElasticSettings {
    /// Settings from a URL: `https://user:password@host:9200/path`. User and password are percent-encoded there.
    ///
    /// # Errors
    /// If the URL has another scheme than http or https, no host, a query or a fragment.
    pub fn new(url: &str) -> Result<Self, IndexError> {
        // The URL may have a password: errors do not repeat it.
        let invalid = |what: &str| IndexError::Unavailable(format!("the URL of the search server {what}"));
        let (scheme, rest) =
            url.trim().split_once("://").ok_or_else(|| invalid("does not begin with http:// or https://"))?;
        if !matches!(scheme, "http" | "https") {
            return Err(invalid("does not begin with http:// or https://"));
        }
        if rest.contains(['?', '#', ' ']) {
            return Err(invalid("has a query, a fragment or a space"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((user, host)) => {
                let (name, password) = user.split_once(':').ok_or_else(|| invalid("has a user without a password"))?;
                let decoded = decode(name).zip(decode(password));
                (Some(decoded.ok_or_else(|| invalid("has a user that is not percent-encoded"))?), host)
            }
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(invalid("has no host"));
        }
        let path = path.trim_end_matches('/');
        let base = if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") };
        Ok(Self {
            base,
            user,
            index: "mall-products".to_owned(),
            certificates: None,
            search_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(30),
        })
    }

    /// The name under which the index is searched: an alias of the index that is current.
    ///
    /// # Errors
    /// If it is no name of lower case letters, digits, `-` and `_` that begins with a letter.
    pub fn index(mut self, name: &str) -> Result<Self, IndexError> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if !name.starts_with(|first: char| first.is_ascii_lowercase())
            || !name.bytes().all(is_inner)
            || name.len() > INDEX_CHARS_MAX
        {
            return Err(IndexError::Unavailable(format!("`{name}` is no name for a search index")));
        }
        name.clone_into(&mut self.index);
        Ok(self)
    }

    /// A user and a password for basic authentication.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// The certificates that are trusted, in PEM, instead of those that browsers trust.
    #[must_use]
    pub fn certificates(mut self, pem: &str) -> Self {
        self.certificates = Some(pem.to_owned());
        self
    }

    /// How long a search and a write may take.
    #[must_use]
    pub const fn timeouts(mut self, search: Duration, write: Duration) -> Self {
        self.search_timeout = search;
        self.write_timeout = write;
        self
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? * 16 + digit(rest.next()?)?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let check = |url: &str, base: &str, user: Option<(&str, &str)>| {
            let settings = ElasticSettings::new(url).unwrap();
            let found = settings.user.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!((settings.base.as_str(), found), (base, user), "{url}");
            assert!(!format!("{settings:?}").contains("p@ss"), "a password is in the log");
        };
        check("http://127.0.0.1:9200", "http://127.0.0.1:9200", None);
        check("https://search.example/es/", "https://search.example/es", None);
        check("https://mall:p%40ss%3A@[::1]:9200/", "https://[::1]:9200", Some(("mall", "p@ss:")));
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "localhost:9200",
            "ftp://a",
            "http://",
            "http://:9200",
            "http://u@h",
            "http://u:%zz@h",
            "http://secret:pw@h?x",
        ] {
            let error = ElasticSettings::new(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let settings = ElasticSettings::new("http://a").unwrap();
        for name in ["", "A", "a/b", "*", "-a", "a,b", "_all", &"a".repeat(65)] {
            assert!(settings.clone().index(name).is_err(), "{name}");
        }
        assert!(settings.index("mall-products_2").is_ok());
    }
}
