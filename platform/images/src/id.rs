//! A picture's name: 32 hexadecimal digits and what it is. Nothing else is one, so no path is.

use std::{fmt, str::FromStr};

/// Formats that the shop shows: a browser runs nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Webp, Self::Gif];

    /// The ending of a name.
    const fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Gif => "gif",
        }
    }

    /// For `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

/// A picture's id: nobody guesses one, and none is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageId {
    random: u128,
    kind: Kind,
}

/// The text is no picture's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a picture")]
pub struct InvalidImageId;

impl ImageId {
    pub(crate) fn random(kind: Kind) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self { random: u128::from_be_bytes(bytes), kind })
    }

    /// What it is.
    pub const fn kind(self) -> Kind {
        self.kind
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}.{}", self.random, self.kind.ending())
    }
}

impl FromStr for ImageId {
    type Err = InvalidImageId;

    fn from_str(text: &str) -> Result<Self, InvalidImageId> {
        let (digits, ending) = text.split_once('.').ok_or(InvalidImageId)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.ending() == ending).ok_or(InvalidImageId)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 32 || !digits.bytes().all(is_digit) {
            return Err(InvalidImageId);
        }
        let random = u128::from_str_radix(digits, 16).map_err(|_| InvalidImageId)?;
        Ok(Self { random, kind })
    }
}
