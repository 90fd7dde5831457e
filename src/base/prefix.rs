//! Ranges of internet addresses: `10.0.0.0/8`, `2001:db8::/32`; and tables that are looked up by
//! the longest of them that holds an address.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of internet addresses that begin alike (RFC 4632, section 3.1; RFC 4291, section 2.3).
///
/// An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, here
/// and wherever prefixes are compared with addresses.
///
/// ```
/// use tidemill::Prefix;
/// let prefix: Prefix = "10.0.0.0/8".parse()?;
/// assert!(prefix.holds("10.1.2.3".parse()?));
/// assert_eq!("10.0.0.1".parse::<Prefix>()?.to_string(), "10.0.0.1/32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    family: Family,
    /// From the highest bit; those behind `len` are zero.
    bits: u128,
    len: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

/// What is wrong with the text or the parts of a [`Prefix`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PrefixError {
    /// It does not begin with an internet address.
    BadAddress,
    /// The length is not a number of bits that such an address has.
    BadLength,
    /// The address has bits behind the length: `10.0.0.1/8`.
    BitsBehind,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefixError::BadAddress => "not an internet address",
            PrefixError::BadLength => "the length behind the / is not from 0 to 32, or 128 (IPv6)",
            PrefixError::BitsBehind => "the address has bits behind the length",
        })
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    /// The addresses that begin with the first `len` bits of this one.
    ///
    /// # Errors
    /// It has more bits than those, or not as many.
    pub fn new(address: IpAddr, len: u8) -> Result<Prefix, PrefixError> {
        let (family, bits) = unpack(address);
        // The first 96 bits of a mapped address are the same for all.
        let mapped = if address.is_ipv6() && family == Family::V4 { 96 } else { 0 };
        let len = len.checked_sub(mapped).ok_or(PrefixError::BadLength)?;
        if len > family.bits() {
            return Err(PrefixError::BadLength);
        }
        let prefix = Prefix::cut(family, bits, len);
        if prefix.bits == bits { Ok(prefix) } else { Err(PrefixError::BitsBehind) }
    }

    /// What counts as one client: an IPv4 address, and of IPv6 the /64 that one network is given
    /// (RFC 6177), in which a client may choose any address.
    pub(crate) fn of_client(address: IpAddr) -> Prefix {
        match unpack(address) {
            (Family::V4, bits) => Prefix::cut(Family::V4, bits, 32),
            (Family::V6, bits) => Prefix::cut(Family::V6, bits, 64),
        }
    }

    /// Whether an address is in the range.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (family, bits) = unpack(address);
        Prefix::cut(family, bits, self.len) == *self
    }

    fn cut(family: Family, bits: u128, len: u8) -> Prefix {
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Prefix { family, bits: bits & mask, len }
    }
}

impl Family {
    fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

fn unpack(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (Family::V4, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, len) = text.split_once('/').map_or((text, None), |(it, len)| (it, Some(len)));
        let address: IpAddr = address.parse().map_err(|_| PrefixError::BadAddress)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(whole), str::parse).map_err(|_| PrefixError::BadLength)?;
        Prefix::new(address, len)
    }
}

impl From<IpAddr> for Prefix {
    /// This address alone.
    fn from(address: IpAddr) -> Prefix {
        let (family, bits) = unpack(address);
        Prefix { family, bits, len: family.bits() }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len;
        match self.family {
            Family::V4 => write!(f, "{}/{len}", Ipv4Addr::from_bits((self.bits >> 96) as u32)),
            Family::V6 => write!(f, "{}/{len}", Ipv6Addr::from_bits(self.bits)),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// Values by prefix. A look-up takes one step for each length that occurs.
#[derive(Clone, Default)]
pub(crate) struct PrefixMap<V> {
    values: HashMap<Prefix, V>,
    /// The lengths that occur.
    lens: BTreeSet<(Family, u8)>,
}

impl<V: Copy> PrefixMap<V> {
    pub(crate) fn insert(&mut self, prefix: Prefix, value: V) {
        self.lens.insert((prefix.family, prefix.len));
        self.values.insert(prefix, value);
    }

    /// The value of the longest prefix that holds the address.
    pub(crate) fn get(&self, address: IpAddr) -> Option<V> {
        let (family, bits) = unpack(address);
        let lens = self.lens.range((family, 0)..=(family, u8::MAX)).rev();
        let mut prefixes = lens.map(|&(_, len)| Prefix::cut(family, bits, len));
        prefixes.find_map(|prefix| self.values.get(&prefix).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn prefixes_parse_and_show_as_they_were_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "::/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        let same = |a: &str, b: &str| assert_eq!(a.parse::<Prefix>(), b.parse());
        same("10.1.2.3", "10.1.2.3/32");
        same("::ffff:10.0.0.0/104", "10.0.0.0/8");
        same("::ffff:10.1.2.3", "10.1.2.3");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| text.parse::<Prefix>().unwrap_err();
        assert_eq!(wrong("ten/8"), PrefixError::BadAddress);
        assert_eq!(wrong("10.0.0.0/33"), PrefixError::BadLength);
        assert_eq!(wrong("10.0.0.0/-1"), PrefixError::BadLength);
        assert_eq!(wrong("10.0.0.0/"), PrefixError::BadLength);
        assert_eq!(wrong("::/129"), PrefixError::BadLength);
        assert_eq!(wrong("::ffff:10.0.0.0/64"), PrefixError::BadLength);
        assert_eq!(wrong("10.0.0.1/8"), PrefixError::BitsBehind);
    }

    #[test]
    fn clients_are_told_apart_by_address_or_by_network() {
        let client = |text: &str| Prefix::of_client(text.parse().unwrap()).to_string();
        assert_eq!(client("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(client("::ffff:10.1.2.3"), "10.1.2.3/32");
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    /// Against a walk through all prefixes, over addresses of which many share their beginnings.
    #[test]
    fn the_longest_prefix_decides() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let address = |rng: &mut Rng| -> IpAddr {
                let bits = rng.next_u64() as u32 & 0xC000_0003;
                match rng.below(3) {
                    0 => Ipv4Addr::from_bits(bits).into(),
                    1 => Ipv4Addr::from_bits(bits).to_ipv6_mapped().into(),
                    _ => Ipv6Addr::from_bits(u128::from(bits) << 96).into(),
                }
            };
            let (mut map, mut list) = (PrefixMap::default(), Vec::<(Prefix, u64)>::new());
            for value in 0..rng.below(12) {
                let (family, bits) = unpack(address(&mut rng));
                let len = rng.below(u64::from(family.bits()) + 1) as u8;
                let prefix = Prefix::cut(family, bits, len);
                map.insert(prefix, value);
                list.retain(|(other, _)| *other != prefix);
                list.push((prefix, value));
            }
            for _ in 0..50 {
                let address = address(&mut rng);
                let holding = list.iter().filter(|(prefix, _)| prefix.holds(address));
                let naive = holding.max_by_key(|(prefix, _)| prefix.len).map(|(_, value)| *value);
                assert_eq!(map.get(address), naive, "seed {seed}, {address}");
            }
        }
    }
}
