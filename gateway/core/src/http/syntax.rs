//! The characters of HTTP.

/// `tchar`: what methods and field names are made of (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// What a field's value is made of: visible characters, blanks, and bytes beyond ASCII (RFC 9110
/// section 5.5).
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || matches!(byte, b' '..=b'~') || byte >= 0x80
}

/// A set of bytes.
pub(super) type Set = [bool; 256];

/// The bytes that need no escape (`is_plain`), and those of `more`, without those of `less`.
pub(super) const fn plain_and(more: &[u8], less: &[u8]) -> Set {
    let (mut set, mut byte) = ([false; 256], 0_u8);
    while byte < 0x80 {
        set[byte as usize] = is_plain(byte);
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        set[more[at] as usize] = true;
        at += 1;
    }
    at = 0;
    while at < less.len() {
        set[less[at] as usize] = false;
        at += 1;
    }
    set
}

/// Whether `bytes` has only bytes of `set`, and `%` before two hex digits (RFC 3986 section 2.1).
pub(super) fn is_escaped(bytes: &[u8], set: &Set) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !set[usize::from(*byte)]) {
        rest = match &rest[at..] {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            _ => return false,
        };
    }
    true
}

/// `unreserved` and `sub-delims`: what needs no escape in any part of a URI (RFC 3986 section 2).
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}
