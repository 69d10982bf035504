//! The byte layer of the records: big-endian fixed-width numbers and length-prefixed text.
//! A reader never panics on bytes from outside.

use crate::ids;

/// Why bytes are no record. A consumer treats all of them as poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record's first byte names a version this build does not read.
    #[error("unknown record version {0}")]
    UnknownVersion(u8),
    /// The record's second byte names a kind this build does not read.
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    /// The bytes end before the record does.
    #[error("record ends early")]
    Truncated,
    /// Bytes follow the record's end.
    #[error("bytes after the end of the record")]
    Trailing,
    /// A field holds what it may not.
    #[error("field out of range")]
    OutOfRange,
}

impl From<ids::InvalidId> for DecodeError {
    fn from(_: ids::InvalidId) -> Self {
        Self::OutOfRange
    }
}

/// Appends fields to a buffer of the caller's.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }
    /// Text with its length in bytes as u32 before it; at most [`TEXT_BYTES_MAX`] bytes.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        assert!(value.len() <= TEXT_BYTES_MAX, "text of {} bytes in a record", value.len());
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.u32(len).bytes(value.as_bytes())
    }
}

/// The longest text a record carries.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Takes fields from the front of a record.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }
    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }
    /// A flag byte: 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::OutOfRange),
        }
    }
    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let len = usize::try_from(self.u32()?).map_err(|_| DecodeError::OutOfRange)?;
        if len > TEXT_BYTES_MAX {
            return Err(DecodeError::OutOfRange);
        }
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::OutOfRange)
    }
    /// An id of any kind: `reader.id(OrderId::from_i64)`.
    pub(crate) fn id<T>(&mut self, from: impl Fn(i64) -> Option<T>) -> Result<T, DecodeError> {
        from(self.i64()?).ok_or(DecodeError::OutOfRange)
    }
    /// All bytes that are left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
    /// The record must end here.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
