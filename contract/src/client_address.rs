//! Who a client is by its address, also behind proxies of ours.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A network of addresses: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: u128,
    /// Of the 128 bits of an address (an IPv4 address is in `::ffff:0:0/96`).
    prefix: u32,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network: expected an address, or an address and a prefix length as in 10.0.0.0/8")]
pub struct InvalidCidr;

impl Cidr {
    /// Whether `address` is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        masked(address_bits(address), self.prefix) == self.network
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidCidr)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or(InvalidCidr)?,
            None => bits,
        };
        let prefix = prefix + (128 - bits);
        Ok(Self { network: masked(address_bits(address), prefix), prefix })
    }
}

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Cidr>);

impl TrustedProxies {
    /// The nearest address on the way to the client that is no proxy of ours: `peer`, or what the proxies
    /// from `peer` on say. `forwarded_for` are the values of the `X-Forwarded-For` lines in their order.
    pub fn client<'a>(&self, peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer;
        let hops = forwarded_for.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.contains(client) {
                break;
            }
            let Some(address) = std::str::from_utf8(hop.trim_ascii()).ok().and_then(hop_address) else { break };
            client = address;
        }
        client.to_canonical()
    }

    /// Whether `address` is one of the proxies.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// The address in one element of `X-Forwarded-For`. Some proxies append the client's port, and RFC 7239 section 6 puts
/// an IPv6 address into brackets: `9.9.8.7:5000`, `[2001:db8::1]`, `[2001:db8::1]:5000`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    hop.parse().ok().or_else(bracketed).or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Networks with commas between them; no text is no proxies.
impl FromStr for TrustedProxies {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// What limits count a client by: one household has a /64 of IPv6 addresses.
pub fn limit_key(client: IpAddr) -> u128 {
    let bits = address_bits(client);
    match client.to_canonical() {
        IpAddr::V4(_) => bits,
        IpAddr::V6(_) => bits >> 64,
    }
}

/// How many times a client's limit its networks may use, as [`limit_keys`] has them.
pub const LIMIT_FACTORS: [u32; 3] = [1, 4, 16];

/// The networks that a client's limits count, each with the multiple of the limit that it may use: an IPv4 address, or
/// of an IPv6 address the /64 (one network), the /56 (what a home is often given) and the /48 (a site, or a free tunnel).
/// With the /64 alone one /48 would be 65,536 clients.
pub fn limit_keys(client: IpAddr) -> impl Iterator<Item = (u128, u32)> + Clone {
    const WIDER: [(u32, u32); 2] = [(56, LIMIT_FACTORS[1]), (48, LIMIT_FACTORS[2])];
    let bits = address_bits(client);
    let is_v6 = client.to_canonical().is_ipv6();
    let wider = WIDER.into_iter().filter(move |_| is_v6);
    // The length is part of the key, so that no network has the key of a wider one.
    let wider = wider.map(move |(prefix, factor)| (masked(bits, prefix) | u128::from(prefix), factor));
    std::iter::once((limit_key(client), LIMIT_FACTORS[0])).chain(wider)
}

/// An address as 128 bits.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn masked(bits: u128, prefix: u32) -> u128 {
    bits & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let check = |network: &str, address: &str, expect: bool| {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expect, "{network:?} {address}");
        };
        check("127.0.0.0/8", "127.9.9.9", true);
        check("127.0.0.0/8", "128.0.0.1", false);
        check("127.0.0.0/8", "::ffff:127.0.0.1", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("0.0.0.0/0", "9.9.9.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "9.9.9.9", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        for bad in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "x", "10.0.0.0/"] {
            assert_eq!(bad.parse::<Cidr>(), Err(InvalidCidr), "{bad}");
        }
    }

    #[test]
    fn lists_of_networks() {
        let check = |text: &str, expect: Option<usize>| {
            let found = text.parse::<TrustedProxies>().ok().map(|proxies| proxies.0.len());
            assert_eq!(found, expect, "{text:?}");
        };
        check("", Some(0));
        check(" ", Some(0));
        check("127.0.0.1", Some(1));
        check("127.0.0.0/8, ::1,10.0.0.0/8", Some(3));
        check("127.0.0.0/8,", None);
        check("127.0.0.0/8 ::1", None);
        check("localhost", None);
    }

    #[test]
    fn forwarded_for_is_believed_from_proxies_only() {
        let proxies: TrustedProxies = "127.0.0.0/8,10.0.0.0/8".parse().unwrap();
        let check = |peer: &str, lines: &[&str], expect: &str| {
            let client = proxies.client(peer.parse().unwrap(), lines.iter().map(|line| line.as_bytes()));
            assert_eq!(client.to_string(), expect, "{peer} {lines:?}");
        };
        check("9.9.9.9", &["1.1.1.1"], "9.9.9.9");
        check("::ffff:9.9.9.9", &["1.1.1.1"], "9.9.9.9");
        check("127.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check("127.0.0.1", &["8.8.8.8, 1.1.1.1"], "1.1.1.1");
        check("127.0.0.1", &["8.8.8.8, 1.1.1.1,10.0.0.3"], "1.1.1.1");
        check("127.0.0.1", &["8.8.8.8", "1.1.1.1"], "1.1.1.1");
        check("127.0.0.1", &["8.8.8.8, 1.1.1.1", "10.0.0.3"], "1.1.1.1");
        check("127.0.0.1", &["1.1.1.1, unknown"], "127.0.0.1");
        check("127.0.0.1", &["1.1.1.1, \u{fc}"], "127.0.0.1");
        check("127.0.0.1", &["9.9.8.7:5000"], "9.9.8.7");
        check("127.0.0.1", &["8.8.8.8:1, 9.9.8.7:5000 , 10.0.0.3:80"], "9.9.8.7");
        check("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("127.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1");
        check("127.0.0.1", &["[::ffff:9.9.8.7]:5000"], "9.9.8.7");
        for bad in ["9.9.8.7:", "9.9.8.7:99999", "[9.9.8.7]", "[2001:db8::1", "2001:db8::1]", "[]", "[2001:db8::1]x"] {
            check("127.0.0.1", &[bad], "127.0.0.1");
        }
        check("127.0.0.1", &[""], "127.0.0.1");
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1");
    }

    #[test]
    fn a_site_has_several_limits() {
        let keys = |address: &str| limit_keys(address.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(keys("10.0.0.1"), [(limit_key("10.0.0.1".parse().unwrap()), 1)]);
        assert_eq!(keys("::ffff:10.0.0.1"), keys("10.0.0.1"));
        let shared = |left: &str, right: &str| {
            keys(left).iter().filter(|key| keys(right).contains(key)).map(|(_, factor)| *factor).collect::<Vec<_>>()
        };
        assert_eq!(shared("2001:db8:1:1::1", "2001:db8:1:1::2"), [1, 4, 16]);
        assert_eq!(shared("2001:db8:1:1::1", "2001:db8:1:2::1"), [4, 16]);
        assert_eq!(shared("2001:db8:1:1::1", "2001:db8:1:101::1"), [16]);
        assert_eq!(shared("2001:db8:1:1::1", "2001:db8:2:1::1"), [0_u32; 0]);
    }

    #[test]
    fn a_household_is_one_client() {
        let key = |address: &str| limit_key(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
    }
}
