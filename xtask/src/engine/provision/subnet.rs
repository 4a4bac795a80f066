//! A free IPv4 subnet for a bridge. Pure: what `ip` printed in, a choice out.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 address with its prefix length, `172.31.7.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    address: Ipv4Addr,
    length: u8,
}

impl Net {
    /// The same network with its host part cleared, as rules name it.
    pub fn network(self) -> Self {
        Self { address: Ipv4Addr::from_bits(self.address.to_bits() & mask(self.length)), ..self }
    }

    fn overlaps(self, other: Self) -> bool {
        let shared = mask(self.length.min(other.length));
        self.address.to_bits() & shared == other.address.to_bits() & shared
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Net {
    type Err = String;

    /// Takes a plain address as a network of one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        match (address.parse(), length.parse()) {
            (Ok(address), Ok(length @ 0..=32)) => Ok(Self { address, length }),
            _ => Err(format!("`{text}` is not an IPv4 network")),
        }
    }
}

impl TryFrom<String> for Net {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Net> for String {
    fn from(net: Net) -> Self {
        net.to_string()
    }
}

/// Where subnets come from, most preferred first; each gives 256 networks of 254 hosts.
const POOLS: [[u8; 2]; 4] = [[172, 31], [10, 213], [192, 168], [172, 30]];

/// What the machine uses already.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Its own addresses and the networks that it has routes to.
    pub networks: Vec<Net>,
    /// Hosts that it must keep reaching: its gateway and its name servers.
    pub hosts: Vec<Net>,
}

impl Taken {
    /// From `ip -o -4 addr`, `ip -4 route show table all` and `resolv.conf`.
    pub fn read(addresses: &str, routes: &str, resolv_conf: &str) -> Self {
        let mut taken = Self::default();
        for line in addresses.lines() {
            taken.networks.extend(word_after(line, "inet"));
        }
        for line in routes.lines() {
            taken.networks.extend(
                line.split_ascii_whitespace()
                    .find_map(|word| word.parse::<Net>().ok())
                    .filter(|_| !line.starts_with("default")),
            );
            taken.hosts.extend(word_after(line, "via"));
        }
        for line in resolv_conf.lines().filter(|line| line.starts_with("nameserver")) {
            taken.hosts.extend(word_after(line, "nameserver"));
        }
        taken
    }

    /// Whether nobody uses any address of `net`.
    pub fn leaves_free(&self, net: Net) -> bool {
        !self.networks.iter().any(|taken| taken.overlaps(net))
    }
}

fn word_after(line: &str, word: &str) -> Option<Net> {
    let mut words = line.split_ascii_whitespace();
    words.find(|found| *found == word)?;
    words.next()?.parse().ok()
}

/// A bridge's own address in a free network; `seed` spreads the choices of different trees, so that two that
/// choose at the same moment choose differently. A pool in which a gateway or a name server lives is left
/// alone: more of the machine's network may be there than its routes tell.
pub fn choose(taken: &Taken, seed: u8) -> Option<Net> {
    POOLS.iter().find_map(|[a, b]| {
        let pool = Net { address: Ipv4Addr::new(*a, *b, 0, 0), length: 16 };
        if taken.hosts.iter().any(|host| host.overlaps(pool)) {
            return None;
        }
        (0..=u8::MAX)
            .map(|step| Net { address: Ipv4Addr::new(*a, *b, seed.wrapping_add(step), 1), length: 24 })
            .find(|net| taken.leaves_free(*net))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: &str = "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever
9: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever";

    #[track_caller]
    fn check(addresses: &str, routes: &str, resolv_conf: &str, seed: u8, expected: &str) {
        let taken = Taken::read(&format!("{ADDRESSES}\n{addresses}"), routes, resolv_conf);
        assert_eq!(choose(&taken, seed).expect("one is free").to_string(), expected);
    }

    #[test]
    fn chooses_what_nobody_uses() {
        let routes = "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 proto kernel";
        check("", routes, "nameserver 10.255.255.53", 7, "172.31.7.1/24");
        check("5: xt1 inet 172.31.7.1/24 scope global xt1", routes, "", 7, "172.31.8.1/24");
        check("5: xt1 inet 172.31.255.1/24 scope global xt1", routes, "", 255, "172.31.0.1/24");
        check("", "172.16.0.0/12 via 192.0.2.9 dev tun0", "", 7, "10.213.7.1/24");
        check("", "unreachable 172.31.7.0/25 dev lo\n172.31.8.9 dev tun0 scope link", "", 7, "172.31.9.1/24");
        check("", "local 172.31.7.3 dev wg0 table local", "", 7, "172.31.8.1/24");
    }

    #[test]
    fn keeps_out_of_the_pool_that_the_machine_lives_in() {
        check("", "default via 172.31.16.1 dev eth0", "", 3, "10.213.3.1/24");
        check("", "default via 172.31.16.1 dev eth0", "nameserver 10.213.0.2", 3, "192.168.3.1/24");
        check("", "", "search x\nnameserver 172.31.0.2\nnameserver ::1", 3, "10.213.3.1/24");
    }

    #[test]
    fn gives_up_when_everything_is_taken() {
        let taken = Taken::read("", "0.0.0.0/1 via 192.0.2.9\n128.0.0.0/1 via 192.0.2.9", "");
        assert_eq!(choose(&taken, 0), None);
    }

    #[test]
    fn networks_of_rules_have_no_host_part() {
        let net: Net = "172.31.7.1/24".parse().expect("a network");
        assert_eq!(net.network().to_string(), "172.31.7.0/24");
        assert_eq!("0.0.0.0/0".parse::<Net>().expect("a network").network().to_string(), "0.0.0.0/0");
        for bad in ["", "1.2.3", "1.2.3.4/33", "::1/64", "eth0"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }
}
