//! Parameters by name, as they are signed.

use std::collections::BTreeMap;

/// Parameters by name. Each name occurs once: of two values, one would be checked and the other used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(pub(crate) BTreeMap<String, String>);

/// Characters of a parameter's name that an error repeats: anybody can send a notice with a long one, and errors are
/// logged.
const NAME_SHOWN_MAX: usize = 64;

/// A parameter occurs twice. The name may be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} occurs twice")]
pub struct Twice(pub String);

impl Twice {
    pub(crate) fn named(name: &str) -> Self {
        Self(name.chars().take(NAME_SHOWN_MAX).collect())
    }
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`, which a query is too.
    ///
    /// # Errors
    /// See [`Twice`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Twice> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            if form.0.insert(name.to_string(), value.to_string()).is_some() {
                return Err(Twice::named(&name));
            }
        }
        Ok(form)
    }

    /// Sets a parameter.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a parameter; nothing where it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What is signed: all but `left_out`, sorted by name, `name=value` joined by `&`, not encoded.
    pub(crate) fn content(&self, left_out: &[&str]) -> String {
        let signed = self.0.iter().filter(|(name, value)| !left_out.contains(&name.as_str()) && !value.is_empty());
        let pairs: Vec<String> = signed.map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// As a query or a body.
    pub fn encoded(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(&self.0);
        out.finish()
    }
}
