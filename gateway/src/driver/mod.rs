//! Runtimes. Each is a thin loop around [`crate::session`].

pub(crate) mod on_monoio;
#[cfg(test)]
mod tests;
