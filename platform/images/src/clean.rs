//! Takes out of a picture what is not shown: where and with what it was taken, notes, previews. Its orientation stays. A picture
//! that does not end is refused. Pixels are not decoded.

use crate::{Kind, NotTaken};

/// The signature of a PNG.
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Chunks of a PNG that change how it looks, besides those that every reader must know.
const PNG_SHOWN: [&[u8; 4]; 16] = [
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCv", b"cLLi", b"bKGD", b"hIST", b"pHYs",
    b"sPLT", b"acTL", b"fcTL", b"fdAT",
];
/// Chunks of a WebP that change how it looks.
const WEBP_SHOWN: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"];
/// Flags of a WebP that say that it has Exif and XMP.
const WEBP_EXIF: u8 = 0x08;
const WEBP_XMP: u8 = 0x04;
/// Begins the Exif of a JPEG.
const EXIF_HEADER: &[u8] = b"Exif\0\0";
const ICC_HEADER: &[u8] = b"ICC_PROFILE\0";
/// The tag of the orientation, and the type of its value.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// The picture `bytes` without metadata.
pub(crate) fn cleaned(kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, NotTaken> {
    let cleaned = match kind {
        Kind::Jpeg => jpeg(bytes),
        Kind::Png => png(bytes),
        Kind::Webp => webp(bytes),
        Kind::Gif => gif(bytes),
    };
    cleaned.ok_or(NotTaken::Truncated)
}

/// Reads from the front; `None` at the end.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    const START: u8 = 0xd8;
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut input = Input(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    (input.array()? == [0xff, START]).then(|| out.extend([0xff, START]))?;
    loop {
        (input.byte()? == 0xff).then_some(())?;
        let mut marker = input.byte()?;
        // Any number of these may fill the space in front of a marker.
        while marker == 0xff {
            marker = input.byte()?;
        }
        if marker == END {
            out.extend([0xff, END]);
            return Some(out);
        }
        if matches!(marker, 0x01 | 0xd0..=0xd7) {
            out.extend([0xff, marker]);
            continue;
        }
        let length = input.array()?;
        let content = input.take(usize::from(u16::from_be_bytes(length)).checked_sub(2)?)?;
        // JFIF, colours, and the tables and frames of the picture itself.
        let is_shown = match marker {
            0xe0 | 0xee => true,
            0xe2 => content.starts_with(ICC_HEADER),
            0xe1..=0xef | 0xfe => false,
            _ => true,
        };
        if is_shown {
            out.extend([0xff, marker]);
            out.extend(length);
            out.extend(content);
        } else if let (0xe1, Some(exif)) = (marker, content.strip_prefix(EXIF_HEADER))
            && let Some(orientation) = orientation_of(exif)
        {
            let exif = [EXIF_HEADER, &exif_with(orientation)].concat();
            out.extend([0xff, marker]);
            out.extend(u16::try_from(exif.len() + 2).ok()?.to_be_bytes());
            out.extend(exif);
        }
        if marker == SCAN {
            // Until a marker that does not belong to the scan.
            let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
            let length = input.0.windows(2).position(is_marker)?;
            out.extend(input.take(length)?);
        }
    }
}

fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(input.take(PNG_SIGNATURE.len()).filter(|signature| *signature == PNG_SIGNATURE)?);
    loop {
        let (length, name) = (input.array()?, input.array::<4>()?);
        let content = input.take(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
        let check = input.array::<4>()?;
        if name[0].is_ascii_uppercase() || PNG_SHOWN.contains(&&name) {
            for part in [&length[..], &name, content, &check] {
                out.extend(part);
            }
        } else if &name == b"eXIf"
            && let Some(orientation) = orientation_of(content)
        {
            let chunk = [&b"eXIf"[..], &exif_with(orientation)].concat();
            out.extend(u32::try_from(chunk.len() - 4).ok()?.to_be_bytes());
            out.extend(&chunk);
            out.extend(crc(&chunk).to_be_bytes());
        }
        if &name == b"IEND" {
            return Some(out);
        }
    }
}

fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input(bytes);
    (input.take(4)? == b"RIFF").then_some(())?;
    let length = usize::try_from(u32::from_le_bytes(input.array()?)).ok()?;
    let mut input = Input(input.take(length)?);
    (input.take(4)? == b"WEBP").then_some(())?;
    let mut chunks: Vec<([u8; 4], Vec<u8>)> = Vec::new();
    let mut orientation = None;
    while !input.0.is_empty() {
        let name = input.array::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(input.array()?)).ok()?;
        let content = input.take(length)?;
        // Some writers leave out the padding of the last chunk.
        if length % 2 == 1 && !input.0.is_empty() {
            input.byte()?;
        }
        if WEBP_SHOWN.contains(&&name) {
            chunks.push((name, content.to_vec()));
        } else if &name == b"EXIF" {
            orientation = orientation_of(content.strip_prefix(EXIF_HEADER).unwrap_or(content));
        }
    }
    chunks.iter().any(|(name, _)| matches!(name, b"VP8 " | b"VP8L" | b"ANMF")).then_some(())?;
    chunks.extend(orientation.map(|orientation| (*b"EXIF", exif_with(orientation))));
    if let Some((_, features)) = chunks.iter_mut().find(|(name, _)| name == b"VP8X") {
        let flags = features.first_mut()?;
        *flags &= !(WEBP_EXIF | WEBP_XMP);
        *flags |= if orientation.is_some() { WEBP_EXIF } else { 0 };
    }
    let mut out = b"WEBP".to_vec();
    for (name, content) in chunks {
        out.extend(name);
        out.extend(u32::try_from(content.len()).ok()?.to_le_bytes());
        out.extend(&content);
        out.extend([0].iter().take(content.len() % 2));
    }
    Some([b"RIFF", &u32::try_from(out.len()).ok()?.to_le_bytes()[..], &out].concat())
}

fn gif(bytes: &[u8]) -> Option<Vec<u8>> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2c;
    const END: u8 = 0x3b;
    let mut input = Input(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let head = input.take(13)?;
    out.extend(head);
    out.extend(input.take(colour_table(head[10]))?);
    loop {
        match input.byte()? {
            END => {
                out.push(END);
                return Some(out);
            }
            IMAGE => {
                let descriptor = input.take(9)?;
                out.push(IMAGE);
                out.extend(descriptor);
                out.extend(input.take(colour_table(descriptor[8]))?);
                out.push(input.byte()?);
                out.extend(blocks(&mut input)?);
            }
            EXTENSION => {
                let label = input.byte()?;
                let content = blocks(&mut input)?;
                // Timing and transparency of a frame, and how often an animation is repeated.
                let is_shown = label == 0xf9
                    || label == 0xff
                        && [&b"\x0bNETSCAPE2.0"[..], b"\x0bANIMEXTS1.0"].iter().any(|name| content.starts_with(name));
                if is_shown {
                    out.extend([EXTENSION, label]);
                    out.extend(content);
                }
            }
            _ => return None,
        }
    }
}

/// Bytes of the table that these flags announce.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Blocks of a GIF, up to the empty one at their end.
fn blocks<'b>(input: &mut Input<'b>) -> Option<&'b [u8]> {
    let whole = input.0;
    loop {
        let length = usize::from(input.byte()?);
        input.take(length)?;
        if length == 0 {
            return whole.get(..whole.len() - input.0.len());
        }
    }
}

/// How the picture is turned or mirrored, by its Exif; `None` where it is upright.
fn orientation_of(exif: &[u8]) -> Option<u8> {
    let is_big = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let bytes = exif.get(4..8)?.try_into().ok()?;
    let directory = if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    let directory = usize::try_from(directory).ok()?;
    let mut entries = (0..usize::from(short(directory)?)).map(|index| directory + 2 + 12 * index);
    let entry = entries.find(|at| short(*at) == Some(ORIENTATION) && short(at + 2) == Some(SHORT))?;
    u8::try_from(short(entry + 8)?).ok().filter(|orientation| (2..=8).contains(orientation))
}

/// An Exif that says nothing else.
fn exif_with(orientation: u8) -> Vec<u8> {
    let [tag, kind] = [ORIENTATION, SHORT].map(u16::to_be_bytes);
    [b"MM\0*\0\0\0\x08\0\x01", &tag[..], &kind, b"\0\0\0\x01\0", &[orientation], b"\0\0\0\0\0\0"].concat()
}

/// The check of a PNG's chunk (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

    use super::*;

    /// An Exif in the other byte order, with an orientation and a place.
    fn exif() -> Vec<u8> {
        let maker = b"\x0f\x01\x02\0\x05\0\0\0\x26\0\0\0";
        let turned = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        [b"II*\0\x08\0\0\0\x02\0", &maker[..], turned, b"\0\0\0\0secret GPS"].concat()
    }

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], &length[..], content].concat()
    }

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let check = crc(&[name, content].concat()).to_be_bytes();
        [&length, &name[..], content, &check].concat()
    }

    fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WEBP".to_vec();
        for (name, content) in chunks {
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            body.extend([&name[..], &length, content, &vec![0; content.len() % 2]].concat());
        }
        [b"RIFF", &u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
    }

    /// A picture of each kind with every sort of metadata, and the same as it is kept.
    fn pictures() -> Vec<(Kind, Vec<u8>, Vec<u8>)> {
        let of_jpeg = [EXIF_HEADER, &exif()].concat();
        let turned = exif_with(6);
        let scan = [segment(0xda, b"head"), b"\x01\xff\x00\x02\xff\xd0\x03".to_vec()].concat();
        let colours = segment(0xe2, b"ICC_PROFILE\0\x01\x01profile");
        let jpeg_notes = [
            segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0secret"),
            segment(0xed, b"secret"),
            segment(0xfe, b"secret"),
        ];
        let jpeg = |exif: &[u8], notes: &[u8], end: &[u8]| {
            let exif = segment(0xe1, exif);
            [b"\xff\xd8", &segment(0xe0, b"JFIF\0")[..], &exif, notes, &colours, &scan, b"\xff\xd9", end].concat()
        };
        let kept_exif = [EXIF_HEADER, &turned].concat();
        let png = |exif: &[u8], notes: &[u8]| {
            let head = chunk(b"IHDR", b"\0\0\0\x02\0\0\0\x02\x08\x06\0\0\0");
            [PNG_SIGNATURE, &head, &chunk(b"eXIf", exif), notes, &chunk(b"IDAT", b"pixels"), &chunk(b"IEND", b"")]
                .concat()
        };
        let png_notes = [chunk(b"tEXt", b"Comment\0secret"), chunk(b"tIME", b"secret.")].concat();
        let gif = |notes: &[u8]| {
            let head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff";
            let again = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
            [&head[..], again, notes, b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3b"].concat()
        };
        vec![
            (Kind::Jpeg, jpeg(&of_jpeg, &jpeg_notes.concat(), b"secret"), jpeg(&kept_exif, b"", b"")),
            (Kind::Png, png(&exif(), &png_notes), png(&turned, b"")),
            (
                Kind::Webp,
                riff(&[(b"VP8X", &[0x1c, 0, 0]), (b"VP8L", b"pixel"), (b"EXIF", &exif()), (b"XMP ", b"secret")]),
                riff(&[(b"VP8X", &[0x18, 0, 0]), (b"VP8L", b"pixel"), (b"EXIF", &turned)]),
            ),
            (Kind::Gif, gif(b"\x21\xfe\x06secret\0"), gif(b"")),
        ]
    }

    #[test]
    fn what_is_not_shown_is_taken_out_and_the_orientation_stays() {
        for (kind, given, kept) in pictures() {
            let cleaned = cleaned(kind, &given).unwrap();
            assert_eq!(cleaned, kept, "{kind:?}");
            assert!(!cleaned.windows(6).any(|part| part == b"secret"), "{kind:?}");
            assert_eq!(super::cleaned(kind, &cleaned).unwrap(), cleaned, "{kind:?} is clean");
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for (kind, _, whole) in pictures() {
            for cut in 0..whole.len() {
                assert_eq!(cleaned(kind, &whole[..cut]), Err(NotTaken::Truncated), "{kind:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn an_upright_picture_has_no_exif_left() {
        for broken in
            [b"".to_vec(), b"II*\0\xff\xff\xff\xff".to_vec(), exif()[..20].to_vec(), exif_with(1), exif_with(9)]
        {
            assert_eq!(orientation_of(&broken), None, "{broken:?}");
        }
        assert_eq!((orientation_of(&exif()), orientation_of(&exif_with(8))), (Some(6), Some(8)));
    }
}
