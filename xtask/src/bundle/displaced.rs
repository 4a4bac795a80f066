//! Names under which images wait that have lost their own to a load. When the load is over they get their own back, or
//! nobody needs it any more.
//!
//! Such a name says all that a later run has to know when a load was killed: which name it was, what got it, and whose
//! load that was. `xtask-load-before/PID-MACHINE-START/IDENTITYDOMAIN/PATH:TAG`.

use std::fmt::Write as _;

use crate::engine::{AnyEngine, EngineError, Store as _};
use crate::host::{ProcessId, host_name};
use crate::model::{Identity, Observed, Reference, sha256};

/// Begins all of them.
const BEFORE: &str = "xtask-load-before";
/// Hex digits of an identity. They stand before the domain, which may begin with what no part of a path may begin with.
const IDENTITY: usize = 12;
/// Hex digits that tell machines, and processes of one number.
const MARK: usize = 8;

/// A name that an image lost to a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplacedName {
    /// The name.
    pub name: Reference,
    /// What the image is called meanwhile.
    pub under: Reference,
    owner: String,
    /// The beginning of the identity of what got the name.
    brought: String,
}

impl DisplacedName {
    /// For a name that this process gives to another image; none when no reference can say all that.
    pub fn new(name: &Reference, brought: &Identity) -> Option<Self> {
        let owner = owner(std::process::id())?;
        let brought = beginning(brought).to_owned();
        let (domain, path) = (escaped(name.domain()), name.path());
        let tag = name.tag()?;
        let under = format!("{BEFORE}/{owner}/{brought}{domain}/{path}:{tag}").parse().ok()?;
        Some(Self { name: name.clone(), under, owner, brought })
    }

    /// What such a name says; none for any other.
    pub fn read(under: &Reference) -> Option<Self> {
        let rest = under.path().strip_prefix(BEFORE)?.strip_prefix('/')?;
        let mut parts = rest.splitn(3, '/');
        let (owner, of, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (brought, domain) = of.split_at_checked(IDENTITY)?;
        let name = format!("{}/{path}:{}", unescaped(domain)?, under.tag()?).parse().ok()?;
        under.is_of_docker_hub().then(|| Self {
            name,
            under: under.clone(),
            owner: owner.to_owned(),
            brought: brought.to_owned(),
        })
    }

    /// Whether the load is over. Of one of another machine, or of another container, nobody here knows.
    pub fn is_over(&self) -> bool {
        let mut parts = self.owner.split('-');
        let (Some(pid), Some(machine)) = (parts.next().and_then(|pid| pid.parse().ok()), parts.next()) else {
            return false;
        };
        machine == mark(&host_name()) && owner(pid).as_ref() != Some(&self.owner)
    }

    /// Gives the name back.
    ///
    /// # Errors
    /// The engine's.
    pub async fn give_back(&self, engine: &AnyEngine) -> Result<(), EngineError> {
        engine.give_back(&self.name, &self.under).await
    }

    /// Lets the name go for good. The image stays, without a name if it had no other, as it does wherever an engine
    /// gives a name to another one; so it does no harm that a container may use it.
    ///
    /// # Errors
    /// The engine's.
    pub async fn let_go(&self, engine: &AnyEngine) -> Result<(), EngineError> {
        engine.tag(&self.name, &self.under).await?;
        engine.remove(&self.under).await
    }
}

/// What is to be done about a name of a load that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nobody has it, or what the load brought: it was killed before it was whole.
    GiveBack,
    /// Somebody gave it to another image since.
    LetGo,
}

/// The names that killed loads left.
///
/// # Errors
/// The engine's.
pub async fn left(
    engine: &AnyEngine,
    observed: &Observed,
) -> Result<Vec<(DisplacedName, Remedy)>, EngineError> {
    let names = observed.images().iter().flat_map(|image| &image.names);
    let mut left = Vec::new();
    for displaced in names.filter_map(DisplacedName::read).filter(DisplacedName::is_over) {
        let has_it = engine.details(&displaced.name).await?;
        let is_free = has_it.is_none_or(|details| beginning(&details.identity) == displaced.brought);
        left.push((displaced, if is_free { Remedy::GiveBack } else { Remedy::LetGo }));
    }
    Ok(left)
}

fn beginning(identity: &Identity) -> &str {
    &identity.digest().hex()[..IDENTITY]
}

/// What tells a process from all others.
fn owner(pid: u32) -> Option<String> {
    let started = ProcessId::of(pid)?.started;
    Some(format!("{pid}-{}-{}", mark(&host_name()), mark(&started)))
}

fn mark(text: &str) -> String {
    sha256(text.as_bytes()).hex()[..MARK].to_owned()
}

/// A domain as a part of a path: what may not stand there is `__` and its number in hex.
fn escaped(domain: &str) -> String {
    domain.chars().fold(String::new(), |mut text, c| {
        match c {
            'a'..='z' | '0'..='9' | '.' | '-' => text.push(c),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "__{:02x}", u32::from(c))),
        }
        text
    })
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split("__");
    let mut domain = parts.next()?.to_owned();
    for part in parts {
        let code = u32::from_str_radix(part.get(..2)?, 16).ok()?;
        domain.push(char::from_u32(code)?);
        domain.push_str(&part[2..]);
    }
    Some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, ImageId};

    fn identity(byte: u8) -> Identity {
        Identity::of_stored(&ImageId::new(Digest::from_sha256(&[byte; 32])))
    }

    #[test]
    fn a_name_says_what_it_was() {
        for name in [
            "alpine:3.19",
            "127.0.0.1:5000/a/b_c:V1",
            "Registry.example/x",
            "[::1]:5000/x",
            "quay.io/a__b/c-d:latest",
        ] {
            let name: Reference = name.parse().expect(name);
            let displaced = DisplacedName::new(&name, &identity(1)).expect("fits");
            assert_eq!(DisplacedName::read(&displaced.under), Some(displaced.clone()), "{}", displaced.under);
            assert!(!displaced.is_over(), "this process runs");
        }
        for name in [
            "alpine:3.19",
            "xtask-load-before:1-2",
            "r.example/xtask-load-before/1-a-b/0123456789abdocker.io/x:1",
        ] {
            assert_eq!(DisplacedName::read(&name.parse().expect(name)), None, "{name}");
        }
    }

    #[test]
    fn a_load_is_over_when_its_process_is_gone_and_it_was_of_this_machine() {
        let name: Reference = "alpine:3.19".parse().expect("a name");
        let ours = DisplacedName::new(&name, &identity(1)).expect("fits");
        let [pid, machine, started] =
            ours.owner.split('-').collect::<Vec<_>>().try_into().expect("three parts");
        for (owner, is_over) in [
            (format!("{pid}-{machine}-{started}"), false),
            (format!("{pid}-{machine}-00000000"), true),
            (format!("4294967295-{machine}-{started}"), true),
            (format!("{pid}-00000000-00000000"), false),
        ] {
            assert_eq!(DisplacedName { owner: owner.clone(), ..ours.clone() }.is_over(), is_over, "{owner}");
        }
    }
}
