//! A picture of four shades of grey as PNG (RFC 2083), not compressed: it is drawn once, sent once, and 4 KB long.

/// Bits of a pixel.
const DEPTH: u8 = 2;
const PIXELS_PER_BYTE: usize = 4;
/// Bytes in a block of a stored stream at most (RFC 1951 section 3.2.4).
const BLOCK_MAX: usize = 65_535;

/// Encodes `shades`, row by row from the top: 0 is black, 3 is white.
pub(super) fn encode(width: u32, height: u32, shades: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Greyscale, the one compression method, the one filter method, not interlaced.
    head.extend_from_slice(&[DEPTH, 0, 0, 0, 0]);
    chunk(&mut out, b"IHDR", &head);
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let mut rows = Vec::with_capacity(shades.len());
    for row in shades.chunks(width.max(1)) {
        // No filter.
        rows.push(0);
        rows.extend(row.chunks(PIXELS_PER_BYTE).map(|pixels| {
            let byte = pixels.iter().fold(0, |byte, shade| byte << DEPTH | (shade & 3));
            byte << (usize::from(DEPTH) * (PIXELS_PER_BYTE - pixels.len()))
        }));
    }
    chunk(&mut out, b"IDAT", &stored(&rows));
    chunk(&mut out, b"IEND", &[]);
    out
}

/// A zlib stream (RFC 1950) of stored blocks.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = bytes.chunks(BLOCK_MAX);
    let last = blocks.len().saturating_sub(1);
    for (at, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(at == last));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(bytes).to_be_bytes());
    out
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc32(name.iter().chain(data)).to_be_bytes());
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!((crc32(b"123456789".iter()), adler32(b"Wikipedia")), (0xcbf4_3926, 0x11e6_0398));
    }
}
