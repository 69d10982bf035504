//! The place of a request in a distributed trace: W3C Trace Context, level 1.

use std::fmt::{self, Display};

/// Length of a `traceparent` of version 00.
pub const TRACEPARENT_BYTES: usize = 55;
/// The only flag that level 1 defines.
const SAMPLED: u8 = 1;
/// What a rate is out of.
const MILLION: u128 = 1_000_000;
/// Length of a context in a record: trace id, span id, flags.
pub const CONTEXT_BYTES: usize = 16 + 8 + 1;

/// What a `traceparent` header carries. Neither id is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
}

impl TraceContext {
    /// `None` if either id is zero, which the standard calls invalid.
    pub const fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        if trace_id == 0 || span_id == 0 { None } else { Some(Self { trace_id, span_id, is_sampled }) }
    }

    /// Reads a `traceparent`. A malformed one is `None`: the standard has the receiver ignore it.
    ///
    /// Fields that a later version appends are ignored; version 00 has none.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (known, appended) = traceparent.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex(&known[..2])?;
        let is_end = appended.is_empty() || version != 0 && appended[0] == b'-';
        let are_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if version == 0xff || !is_end || !are_dashes {
            return None;
        }
        let trace_id = hex(&known[3..35])?;
        let span_id = u64::try_from(hex(&known[36..52])?).ok()?;
        let flags = hex(&known[53..])?;
        Self::new(trace_id, span_id, flags & u128::from(SAMPLED) != 0)
    }

    /// The context in a record: trace id, span id, flags.
    pub fn to_bytes(self) -> [u8; CONTEXT_BYTES] {
        let mut bytes = [0; CONTEXT_BYTES];
        bytes[..16].copy_from_slice(&self.trace_id.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.span_id.to_be_bytes());
        bytes[24] = u8::from(self.is_sampled);
        bytes
    }

    /// Reads [`TraceContext::to_bytes`]. `None` if either id is zero; unknown flags are ignored.
    pub fn from_bytes(bytes: [u8; CONTEXT_BYTES]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        let span_id = u64::try_from(number(&bytes[16..24])).ok()?;
        Self::new(number(&bytes[..16]), span_id, bytes[24] & SAMPLED != 0)
    }

    /// The id that all spans of the trace have.
    pub const fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The id of the sender's span.
    pub const fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether the sender records its span.
    pub const fn is_sampled(self) -> bool {
        self.is_sampled
    }
}

/// Whether a trace whose sender has not decided is recorded. The id decides, so every service decides the same.
pub const fn is_sampled_at(trace_id: u128, per_million: u32) -> bool {
    trace_id % MILLION < per_million as u128
}

/// As a `traceparent` of version 00.
impl Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

/// At most 32 digits. Capital letters are malformed in a `traceparent`.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn check(traceparent: &str, is_sampled: Option<bool>) {
        let expect = is_sampled.and_then(|is_sampled| {
            TraceContext::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, is_sampled)
        });
        assert_eq!(TraceContext::parse(traceparent.as_bytes()), expect, "{traceparent}");
    }

    #[test]
    fn good_and_malformed() {
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(false));
        check(&format!("00-{TRACE}-{SPAN}-fe"), Some(false));
        check(&format!("01-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), Some(true));
        check("", None);
        check(&format!("00-{TRACE}-{SPAN}-0"), None);
        check(&format!("00-{TRACE}-{SPAN}-011"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-more"), None);
        check(&format!("cc-{TRACE}-{SPAN}-01.more"), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{TRACE}_{SPAN}-01"), None);
        check(&format!(" 00-{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{TRACE}-{SPAN}-é"), None);
    }

    #[test]
    fn a_rate_is_the_share_of_all_trace_ids() {
        let sampled = |per_million| (0..2_000_000).filter(|id| is_sampled_at(*id, per_million)).count();
        assert_eq!([sampled(0), sampled(10_000), sampled(1_000_000)], [0, 20_000, 2_000_000]);
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_parsed(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, is_sampled: bool) {
            let context = TraceContext::new(trace_id, span_id, is_sampled);
            let text = context.map(|context| context.to_string()).unwrap_or_default();
            prop_assert_eq!(text.len(), TRACEPARENT_BYTES);
            prop_assert_eq!(TraceContext::parse(text.as_bytes()), context);
            prop_assert_eq!(context.and_then(|context| TraceContext::from_bytes(context.to_bytes())), context);
        }

        /// Anything else either is refused or was the same context in other words.
        #[test]
        fn no_bytes_panic(mut bytes: [u8; TRACEPARENT_BYTES], at in 0..TRACEPARENT_BYTES) {
            let _ignored = TraceContext::parse(&bytes);
            let good = format!("00-{TRACE}-{SPAN}-01");
            let byte = bytes[at];
            bytes.copy_from_slice(good.as_bytes());
            bytes[at] = byte;
            if let Some(context) = TraceContext::parse(&bytes) {
                let formatted = context.to_string();
                prop_assert_eq!(&formatted.as_bytes()[3..53], &bytes[3..53]);
            }
        }
    }
}
