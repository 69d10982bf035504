//! Entity tags.

use super::list;

/// A strong entity tag (RFC 9110 section 8.8.3) of a body.
pub(crate) fn etag(body: &[u8]) -> [u8; 18] {
    let mut tag = [b'"'; 18];
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    for (pair, byte) in tag[1..17].chunks_mut(2).zip(fnv1a(body).to_be_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    tag
}

/// `If-None-Match` compares weakly (RFC 9110 section 13.1.2).
pub(crate) fn matches_etag(tags: &[u8], etag: &[u8]) -> bool {
    list(tags).any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

/// The same for the same bytes on every gateway, which a seeded hash is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
