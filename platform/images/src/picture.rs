//! Which pictures are taken: told by their first bytes, never by a name, and never decoded.

use imagesize::ImageType;

use crate::Kind;

/// The longest picture, in bytes.
pub const BYTES_MAX: usize = 5 * 1024 * 1024;
/// The longest side, in pixels.
pub const SIDE_MAX: usize = 10_000;
/// The most pixels: few bytes can claim a huge size, and every viewer that decodes them needs the memory.
pub const PIXELS_MAX: usize = 40_000_000;

/// Why a picture is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Longer than [`BYTES_MAX`].
    #[error("a picture is at most 5 MiB")]
    TooLong,
    /// None of the formats; SVG is not one of them, because a browser runs its scripts.
    #[error("a picture is a PNG, JPEG, WebP or GIF, by what it contains")]
    OtherKind,
    /// HEIC or AVIF, in which phones save pictures. Their metadata can't be removed here, and not every browser shows them.
    #[error("a picture in HEIC or AVIF is not taken; save it as JPEG, or set the camera to its most compatible format")]
    PhoneKind,
    /// It begins like one, and does not say how large it is.
    #[error("the picture is damaged: it does not say how large it is")]
    Damaged,
    /// Its end is missing, or something in between.
    #[error("the picture is damaged: it does not end")]
    Truncated,
    /// Larger than [`SIDE_MAX`] or [`PIXELS_MAX`], or nothing.
    #[error("a picture is 1 to 10000 pixels wide and high, and at most 40 million pixels")]
    Size,
}

/// The format of a picture that is taken.
pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, NotTaken> {
    if bytes.len() > BYTES_MAX {
        return Err(NotTaken::TooLong);
    }
    if is_phone_kind(bytes) {
        return Err(NotTaken::PhoneKind);
    }
    let kind = match imagesize::image_type(bytes).map_err(|_| NotTaken::OtherKind)? {
        ImageType::Png => Kind::Png,
        ImageType::Jpeg => Kind::Jpeg,
        ImageType::Webp => Kind::Webp,
        ImageType::Gif => Kind::Gif,
        _ => return Err(NotTaken::OtherKind),
    };
    let size = imagesize::blob_size(bytes).map_err(|_| NotTaken::Damaged)?;
    let side = |pixels: usize| (1..=SIDE_MAX).contains(&pixels);
    if side(size.width) && side(size.height) && size.width * size.height <= PIXELS_MAX {
        return Ok(kind);
    }
    Err(NotTaken::Size)
}

/// Whether a file begins as HEIC or AVIF does: a box `ftyp` with one of their brands (ISO/IEC 23008-12, AVIF 1.1).
fn is_phone_kind(bytes: &[u8]) -> bool {
    const BRANDS: [&[u8]; 10] =
        [b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
    bytes.get(4..8) == Some(b"ftyp") && bytes.get(8..12).is_some_and(|brand| BRANDS.contains(&brand))
}
