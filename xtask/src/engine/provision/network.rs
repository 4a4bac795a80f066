//! The bridge of a private engine, and the way out of its containers. Linux commands, run as root.

use super::home::{Home, Record, Rule};
use super::subnet::{Net, Taken, choose};
use super::{Announce, ProvisionError};
use crate::host::{self, HostCommand, Privilege};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Two engines that are started at the same moment may choose the same subnet; each then chooses again.
const TRIES: u8 = 5;

/// Makes the bridge and the rules, recording each before it is made.
pub(super) async fn make(
    home: &Home,
    privilege: Privilege,
    announce: Announce<'_>,
) -> Result<Record, ProvisionError> {
    let mut seed = home.seed();
    for _ in 0..TRIES {
        let subnet = choose(&taken(None), seed).ok_or(ProvisionError::NoSubnet)?;
        let record = new_record(home, subnet, rules(&home.bridge(), subnet), !is_forwarding());
        home.write_record(&record)?;
        make_bridge(&record, privilege).await?;
        if taken(Some(&record.bridge)).leaves_free(subnet) {
            open_way_out(&record, privilege, announce).await?;
            return Ok(record);
        }
        remove_bridge(&record.bridge, privilege).await?;
        seed = seed.wrapping_add(home.seed() | 1);
    }
    Err(ProvisionError::NoSubnet)
}

/// The bridge `$1` with the address `$2`, and then the daemon, as the arguments that follow start it.
pub(super) const MAKE_INSIDE: &str = "ip link set lo up && ip link add name \"$1\" type bridge && \
    ip addr add \"$2\" dev \"$1\" && ip link set \"$1\" up && shift 2 && exec \"$@\"";

/// For an engine in a network namespace of its own: nothing is made on this machine, and any address will do.
pub(super) fn record_closed(home: &Home) -> Result<Record, ProvisionError> {
    let subnet = choose(&Taken::read("", "", ""), home.seed()).ok_or(ProvisionError::NoSubnet)?;
    let record = new_record(home, subnet, Vec::new(), false);
    home.write_record(&record)?;
    Ok(record)
}

fn new_record(home: &Home, subnet: Net, rules: Vec<Rule>, turned_on_forwarding: bool) -> Record {
    Record {
        endpoint: home.endpoint(),
        started_at: chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
        process: None,
        bridge: home.bridge(),
        subnet,
        rules,
        turned_on_forwarding,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What the machine uses, apart from one interface.
fn taken(apart_from: Option<&str>) -> Taken {
    let ask = |args: &[&str]| {
        let printed = host::query("ip", args).unwrap_or_default();
        let is_other = |line: &&str| {
            apart_from.is_none_or(|name| !line.split_ascii_whitespace().any(|word| word == name))
        };
        printed.lines().filter(is_other).map(|line| format!("{line}\n")).collect::<String>()
    };
    Taken::read(
        &ask(&["-o", "-4", "addr", "show"]),
        &ask(&["-4", "route", "show", "table", "all"]),
        &std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    )
}

fn rules(bridge: &str, subnet: Net) -> Vec<Rule> {
    let rule = |table: &str, chain: &str, words: &str| Rule {
        table: table.to_owned(),
        chain: chain.to_owned(),
        rule: words.split(' ').map(str::to_owned).collect(),
    };
    let network = subnet.network();
    vec![
        rule("nat", "POSTROUTING", &format!("-s {network} ! -o {bridge} -j MASQUERADE")),
        // Another engine's daemon makes DROP the policy of FORWARD.
        rule("filter", "FORWARD", &format!("-i {bridge} -j ACCEPT")),
        rule(
            "filter",
            "FORWARD",
            &format!("-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ),
    ]
}

async fn make_bridge(record: &Record, privilege: Privilege) -> Result<(), ProvisionError> {
    HostCommand::script(
        "ip link add name \"$1\" type bridge && ip addr add \"$2\" dev \"$1\" && ip link set \"$1\" up",
    )
    .args([record.bridge.clone(), record.subnet.to_string()])
    .as_root(privilege)
    .output()
    .await
    .map(drop)
    .map_err(|cause| ProvisionError::Command { doing: format!("make the bridge {}", record.bridge), cause })
}

/// Without a way out builds still work as long as they need no network, so this is no error.
async fn open_way_out(
    record: &Record,
    privilege: Privilege,
    announce: Announce<'_>,
) -> Result<(), ProvisionError> {
    let mut closed = Vec::new();
    for rule in &record.rules {
        if let Err(cause) = change(rule, "-I", privilege).await {
            closed.push(cause.to_string());
        }
    }
    if record.turned_on_forwarding
        && let Err(cause) = set_forwarding("1", privilege).await
    {
        closed.push(cause.to_string());
    }
    if !closed.is_empty() {
        announce(format!("builds on the private engine may not reach the network: {}", closed.join("; ")));
    }
    Ok(())
}

/// Takes away rules, bridge and forwarding of a record. Absent is fine.
pub(super) async fn remove(record: &Record, privilege: Privilege) -> Result<(), ProvisionError> {
    for rule in &record.rules {
        while change(rule, "-C", privilege).await.is_ok() {
            change(rule, "-D", privilege).await.map_err(|cause| ProvisionError::Command {
                doing: format!("remove the iptables rule `{}`", rule.rule.join(" ")),
                cause,
            })?;
        }
    }
    remove_bridge(&record.bridge, privilege).await?;
    // Another bridge is another engine's, or a virtual machine's, which may rely on forwarding by now.
    if record.turned_on_forwarding && is_forwarding() && !any_bridge() {
        set_forwarding("0", privilege).await.map_err(|cause| ProvisionError::Command {
            doing: "turn forwarding off again".to_owned(),
            cause,
        })?;
    }
    Ok(())
}

/// Deletes a bridge; absent is fine.
pub(super) async fn remove_bridge(name: &str, privilege: Privilege) -> Result<(), ProvisionError> {
    HostCommand::script("[ ! -e \"/sys/class/net/$1\" ] || ip link delete \"$1\"")
        .arg(name)
        .as_root(privilege)
        .output()
        .await
        .map(drop)
        .map_err(|cause| ProvisionError::Command { doing: format!("delete the bridge {name}"), cause })
}

async fn change(rule: &Rule, how: &str, privilege: Privilege) -> Result<(), host::CommandError> {
    HostCommand::new("iptables")
        .args(["-w", "10", "-t", &rule.table, how, &rule.chain])
        .args(rule.rule.iter().cloned())
        .as_root(privilege)
        .output()
        .await
        .map(drop)
}

fn is_forwarding() -> bool {
    std::fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1")
}

async fn set_forwarding(value: &str, privilege: Privilege) -> Result<(), host::CommandError> {
    HostCommand::script("echo \"$1\" >\"$2\"")
        .args([value, FORWARDING])
        .as_root(privilege)
        .output()
        .await
        .map(drop)
}

fn any_bridge() -> bool {
    host::query("ip", &["-o", "link", "show", "type", "bridge"]).is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_concern_our_bridge_alone() {
        let rules = rules("xt0a1b2c3d", "172.31.7.1/24".parse().expect("a network"));
        for rule in &rules {
            assert!(rule.rule.contains(&"xt0a1b2c3d".to_owned()), "{rule:?}");
        }
        assert_eq!(rules[0].rule.join(" "), "-s 172.31.7.0/24 ! -o xt0a1b2c3d -j MASQUERADE");
    }
}
