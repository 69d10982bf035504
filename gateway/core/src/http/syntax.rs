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

/// Whether `bytes` has only characters that `is_plain` takes, and `%` before two hex digits (RFC 3986
/// section 2.1).
pub(super) fn is_escaped(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> bool {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            [byte, tail @ ..] if is_plain(*byte) => tail,
            _ => return false,
        };
    }
}

/// `unreserved` and `sub-delims`: what stands for itself in every part of a URI (RFC 3986 section 2).
pub(super) const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}
