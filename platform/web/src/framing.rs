//! Finds heads that have both `Content-Length` and `Transfer-Encoding`. hyper drops the length before anybody sees it.

const LENGTH_NAME: &[u8] = b"content-length:";
const ENCODING_NAME: &[u8] = b"transfer-encoding:";
/// Hexadecimal digits of a chunk's size, at most.
const SIZE_DIGITS_MAX: u32 = 16;

/// Follows the requests of one connection byte by byte, as far as it takes to know heads from bodies. What hyper refuses
/// to parse it need not understand: the connection ends there.
#[derive(Debug, Default)]
pub(super) struct Framing {
    place: Place,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// In a head, or in front of one.
    #[default]
    Head,
    /// In a body with this many bytes to come.
    Fixed(u64),
    /// In the line of a chunk's size.
    Size { size: u64, digits: u32, is_over: bool },
    /// In a chunk with this many bytes to come.
    Chunk(u64),
    /// In the line end after a chunk.
    ChunkEnd,
    /// In the lines after the last chunk; `at` is the place in the line.
    Trailer { at: usize },
    /// In what is no request.
    Lost,
}

#[derive(Debug, Default)]
struct Head {
    has_begun: bool,
    /// Bytes of the current line that were read.
    at: usize,
    is_length: bool,
    is_encoding: bool,
    /// The current line is that of the length, behind its name.
    in_length: bool,
    length: Option<u64>,
    has_encoding: bool,
}

impl Framing {
    /// Whether `bytes` complete a head that has both.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while let Some(&byte) = bytes.first() {
            let mut used = 1;
            self.place = match self.place {
                Place::Head => match self.head.read(byte) {
                    None => Place::Head,
                    Some(next) => {
                        found |= self.head.is_ambiguous();
                        self.head = Head::default();
                        next
                    }
                },
                Place::Fixed(left) => {
                    used = of_body(left, bytes);
                    if used as u64 == left { Place::Head } else { Place::Fixed(left - used as u64) }
                }
                Place::Chunk(left) => {
                    used = of_body(left, bytes);
                    if used as u64 == left { Place::ChunkEnd } else { Place::Chunk(left - used as u64) }
                }
                Place::Size { size, digits, is_over } => after_size(byte, size, digits, is_over),
                Place::ChunkEnd if byte == b'\r' => Place::ChunkEnd,
                Place::ChunkEnd if byte == b'\n' => Place::size(),
                Place::ChunkEnd | Place::Lost => return found,
                Place::Trailer { at: 0 } if byte == b'\n' => Place::Head,
                Place::Trailer { at: 0 } if byte == b'\r' => Place::Trailer { at: 0 },
                Place::Trailer { .. } if byte == b'\n' => Place::Trailer { at: 0 },
                Place::Trailer { .. } => Place::Trailer { at: 1 },
            };
            bytes = &bytes[used..];
        }
        found
    }
}

/// How many of `bytes` are of a body, or a chunk, with `left` bytes to come.
fn of_body(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

impl Place {
    const fn size() -> Self {
        Self::Size { size: 0, digits: 0, is_over: false }
    }
}

fn after_size(byte: u8, size: u64, digits: u32, is_over: bool) -> Place {
    match (char::from(byte).to_digit(16), byte) {
        (_, b'\n') if digits == 0 => Place::Lost,
        (_, b'\n') if size == 0 => Place::Trailer { at: 0 },
        (_, b'\n') => Place::Chunk(size),
        (Some(digit), _) if !is_over && digits < SIZE_DIGITS_MAX => {
            Place::Size { size: size << 4 | u64::from(digit), digits: digits + 1, is_over }
        }
        (Some(_), _) if !is_over => Place::Lost,
        _ => Place::Size { size, digits, is_over: true },
    }
}

impl Head {
    fn is_ambiguous(&self) -> bool {
        self.has_encoding && self.length.is_some()
    }

    /// What follows the head, once `byte` has ended it.
    fn read(&mut self, byte: u8) -> Option<Place> {
        if byte == b'\n' {
            let is_end = self.at == 0 && self.has_begun;
            (self.at, self.in_length) = (0, false);
            return is_end.then(|| match self.length {
                _ if self.has_encoding => Place::size(),
                Some(length @ 1..) => Place::Fixed(length),
                Some(0) | None => Place::Head,
            });
        }
        if byte == b'\r' && self.at == 0 {
            return None;
        }
        self.has_begun = true;
        // Any other length than one number is refused by hyper.
        if self.in_length && byte.is_ascii_digit() {
            let length = self.length.unwrap_or(0);
            self.length = Some(length.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
        }
        let byte = byte.to_ascii_lowercase();
        let matches = |name: &[u8], so_far: bool| (self.at == 0 || so_far) && name.get(self.at) == Some(&byte);
        if self.at < ENCODING_NAME.len() {
            (self.is_length, self.is_encoding) =
                (matches(LENGTH_NAME, self.is_length), matches(ENCODING_NAME, self.is_encoding));
            if self.is_length && self.at + 1 == LENGTH_NAME.len() {
                // A second line of the same length counts once.
                (self.in_length, self.length) = (true, Some(0));
            }
            self.has_encoding |= self.is_encoding && self.at + 1 == ENCODING_NAME.len();
        }
        self.at = self.at.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Framing;

    fn check(text: &str, expect: bool) {
        for cut in 1..=text.len() {
            let mut framing = Framing::default();
            let found = text.as_bytes().chunks(cut).filter(|bytes| framing.read(bytes)).count() > 0;
            assert_eq!(found, expect, "{text:?} cut at {cut}");
        }
    }

    #[test]
    fn two_lengths_are_found_however_they_arrive() {
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", true);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nX: y\r\ncontent-LENGTH: 3\r\n\r\n", true);
        check("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length:3\r\nTransfer-Encoding:chunked\r\n\r\n", true);
        check("\r\n\nPOST / HTTP/1.1\nContent-Length:3\nTransfer-Encoding:chunked\n\n", true);
        check("POST / HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", false);
        check("POST / HTTP/1.1\r\nContent-Lengthy: 3\r\nTransfer-Encoding: chunked\r\n\r\n", false);
    }

    #[test]
    fn lines_of_a_body_are_no_fields() {
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        let get = "GET / HTTP/1.1\r\nHost: mall\r\n\r\n";
        let fixed = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{both}", both.len());
        let chunked = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n{:X};a=b\r\n{both}\r\n0\r\n{}",
            both.len(),
            "Content-Length: 3\r\nX: y\r\n\r\n"
        );
        for request in [&fixed, &chunked] {
            check(request, false);
            check(&format!("{request}{get}"), false);
            check(&format!("{request}POST / HTTP/1.1\r\n{both}"), true);
        }
        check(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n{both}"), false);
    }
}
