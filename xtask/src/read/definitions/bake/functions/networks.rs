//! Pure: functions of networks, `ADDRESS/LENGTH` (go-cty-funcs, `cidr`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Arguments;
use crate::read::definitions::bake::value::Value;

/// A network; an address is a number of `bits` bits.
#[derive(Clone, Copy)]
struct Network {
    start: u128,
    length: u32,
    bits: u32,
}

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    Some(match name {
        "cidrhost" => host(arguments),
        "cidrnetmask" => netmask(arguments),
        "cidrsubnet" => subnet(arguments),
        "cidrsubnets" => subnets(arguments),
        _ => return None,
    })
}

impl Network {
    fn of(text: &str) -> Result<Self, String> {
        let odd = || format!("`{text}` is no network: expected `10.0.0.0/8`");
        let (address, length) = text.split_once('/').ok_or_else(odd)?;
        let (number, bits) = match address.parse::<IpAddr>().map_err(|_| odd())? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let length: u32 = length.parse().ok().filter(|length| *length <= bits).ok_or_else(odd)?;
        let network = Self { start: 0, length, bits };
        Ok(Self { start: number & !network.last_host(), ..network })
    }

    /// The number of its last host.
    fn last_host(self) -> u128 {
        1_u128.checked_shl(self.bits - self.length).map_or(u128::MAX, |size| size - 1)
    }

    /// The network of that number among those that are `longer` by some bits.
    fn inner(self, longer: i64, number: i64) -> Result<Self, String> {
        let longer = u32::try_from(longer).ok().filter(|longer| self.length + longer <= self.bits);
        let longer = longer.ok_or_else(|| "a network has no room for so many bits".to_owned())?;
        let inner = Self { length: self.length + longer, ..self };
        let number =
            u128::try_from(number).ok().filter(|number| number.checked_shr(longer).unwrap_or(0) == 0);
        let number = number.ok_or_else(|| "there are not so many networks in it".to_owned())?;
        let offset = number.checked_shl(self.bits - inner.length).unwrap_or(0);
        Ok(Self { start: self.start | offset, ..inner })
    }

    fn address(self, number: u128) -> String {
        match u32::try_from(number) {
            Ok(number) if self.bits == 32 => Ipv4Addr::from_bits(number).to_string(),
            _ => Ipv6Addr::from_bits(number).to_string(),
        }
    }

    fn value(self) -> Value {
        Value::Text(format!("{}/{}", self.address(self.start), self.length))
    }
}

/// A host by its number; a negative one counts from the end.
fn host(arguments: Arguments<'_>) -> Result<Value, String> {
    let (network, number) = (Network::of(&arguments.text(0)?)?, arguments.whole(1)?);
    let last = network.last_host();
    let offset = match u128::try_from(number) {
        Ok(number) => Some(number).filter(|number| *number <= last),
        Err(_) => last.checked_sub(u128::from(number.unsigned_abs()) - 1),
    };
    let offset = offset.ok_or_else(|| format!("there is no host {number} in it"))?;
    Ok(Value::Text(network.address(network.start | offset)))
}

fn netmask(arguments: Arguments<'_>) -> Result<Value, String> {
    let network = Network::of(&arguments.text(0)?)?;
    if network.bits != 32 {
        return Err("IPv6 knows no masks".to_owned());
    }
    let mask = u128::from(u32::MAX) & !network.last_host();
    Ok(Value::Text(network.address(mask)))
}

fn subnet(arguments: Arguments<'_>) -> Result<Value, String> {
    let network = Network::of(&arguments.text(0)?)?;
    network.inner(arguments.whole(1)?, arguments.whole(2)?).map(Network::value)
}

/// Networks behind each other, each as much longer as it is said.
fn subnets(arguments: Arguments<'_>) -> Result<Value, String> {
    let network = Network::of(&arguments.text(0)?)?;
    let mut next = network.start;
    let mut found = Vec::new();
    for at in 1..arguments.0.len() {
        let inner = Network { start: next, ..network.inner(arguments.whole(at)?, 0)? };
        let size = inner.last_host();
        let start = next.checked_add(size).map(|end| end & !size);
        let start = start.filter(|start| start | size <= network.start | network.last_host());
        let start = start.ok_or_else(|| "a network has no room for so many".to_owned())?;
        found.push(Network { start, ..inner }.value());
        next = (start | size).saturating_add(1);
    }
    Ok(Value::List(found))
}
