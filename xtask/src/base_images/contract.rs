//! Pure: what every base image promises, and whether the images that were built keep it.
//!
//! In: the text of the tree's `contract.toml` (or nothing, for the contract in this program), and what was seen of each
//! system's image. Out: [`ContractComparison`], one table with the systems side by side. It reads no file and runs nothing;
//! [`Contract::commands`] says what somebody has to run in the containers.

mod compare;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::checks::FIT_VERSION;
use crate::model::Diagnostic;
use crate::settings::toml_words;

pub use compare::{ContractComparison, Row, System, compare};

/// The contract's file name, in the folder that holds the systems' folders.
pub const FILE: &str = "contract.toml";
/// In place of a value: there has to be one, and any will do.
pub const ANY: &str = "*";
/// The name under which a trial keeps what `id -u` said.
pub const UID: &str = "uid";
/// The name under which a trial keeps who owns which folder.
pub const FOLDERS: &str = "folders";

/// What every base image promises. Texts may name `{version}` and `{os}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// What the image says of itself.
    pub image: ImagePromise,
    /// What is seen when it runs.
    pub run: RunPromise,
    /// How big it may be.
    pub size: SizeBudget,
    /// What may differ from system to system. Any other difference is a drift, also where the contract is silent.
    pub differs: Differs,
}

/// What the image says of itself; what is not given is compared between the systems all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagePromise {
    /// `USER`
    pub user: Option<String>,
    /// `WORKDIR`
    pub workdir: Option<String>,
    /// `ENTRYPOINT`
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`
    pub cmd: Option<Vec<String>>,
    /// `EXPOSE`, each with its protocol: `8080/tcp`.
    pub exposed_ports: Option<Vec<String>>,
    /// The words of `HEALTHCHECK CMD`; `["*"]` for any.
    pub healthcheck: Option<Vec<String>>,
    /// `VOLUME`
    pub volumes: Option<Vec<String>>,
    /// `STOPSIGNAL`; one that is not given in the Dockerfile is `SIGTERM`.
    pub stop_signal: Option<String>,
    /// `ENV`
    pub env: BTreeMap<String, String>,
    /// `LABEL`
    pub labels: BTreeMap<String, String>,
}

/// What is seen when it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunPromise {
    /// As whom.
    pub uid: Option<u32>,
    /// A text that `fit version` has to contain.
    pub fit_version: Option<String>,
    /// Seconds in which it ends once it is asked to.
    pub stop_seconds: Option<u64>,
    /// The exit statuses with which it may end then; none is any but 137, an end by force.
    pub stop_status: Option<Vec<i64>>,
    /// Each folder that has to be there, and its owner's name.
    pub folders: BTreeMap<String, String>,
}

/// How big it may be, in MB of 1,000,000 bytes, as engines count an image's size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SizeBudget {
    /// For a system that has no budget of its own.
    pub budget: Option<u64>,
    /// By system.
    pub systems: BTreeMap<String, u64>,
}

/// What may differ. A name that ends in `*` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Differs {
    /// Variables.
    pub env: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
}

/// Reads a contract. `file` is only for the finding.
///
/// # Errors
/// What is wrong, with file, line and column: no TOML, an unknown key, a value of another kind.
pub fn parse(file: &str, text: &str) -> Result<Contract, Diagnostic> {
    toml::from_str(text).map_err(|error| toml_words::finding(file, text, &error))
}

impl Contract {
    /// The contract for a tree that declares none: what the framework's own images are known to promise. They name their
    /// entrypoint and their JDK's folder as each system likes, so variables and labels may differ.
    pub fn built_in() -> Self {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let folder = |name: &&str| (format!("/opt/fit-framework/java/{name}"), "fit".to_owned());
        let any = vec![ANY.to_owned()];
        Self {
            image: ImagePromise {
                user: Some("fit".to_owned()),
                exposed_ports: words(&["8080/tcp", "8090/tcp"]),
                healthcheck: Some(any.clone()),
                env: BTreeMap::from([("FIT_HOME".to_owned(), "/opt/fit-framework".to_owned())]),
                ..ImagePromise::default()
            },
            run: RunPromise {
                uid: Some(2000),
                fit_version: Some("{version}".to_owned()),
                folders: ["bin", "conf", "lib", "plugins", "dynamic-plugins", "logs", "data"]
                    .iter()
                    .map(folder)
                    .collect(),
                ..RunPromise::default()
            },
            size: SizeBudget::default(),
            differs: Differs { env: any.clone(), labels: any },
        }
    }

    /// What to run in a container, by the name under which [`compare`] wants the answer. They need a POSIX shell and
    /// `stat -c`, which busybox has too.
    pub fn commands(&self) -> Vec<(String, Vec<String>)> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let mut commands = Vec::new();
        if self.run.uid.is_some() {
            commands.push((UID.to_owned(), words(&["id", "-u"])));
        }
        if self.run.fit_version.is_some() {
            commands.push((FIT_VERSION.to_owned(), words(&["fit", "version"])));
        }
        if !self.run.folders.is_empty() {
            let script = r#"for f in "$@"; do [ -d "$f" ] && stat -c '%U %n' "$f"; done; true"#;
            let mut command = words(&["sh", "-c", script, "folders"]);
            command.extend(self.run.folders.keys().cloned());
            commands.push((FOLDERS.to_owned(), command));
        }
        commands
    }

    /// How big the image of a system may be, in bytes.
    pub fn size_budget(&self, os: &str) -> Option<u64> {
        let megabytes = self.size.systems.get(os).copied().or(self.size.budget);
        megabytes.map(|megabytes| megabytes.saturating_mul(1_000_000))
    }

    /// How long it may take to end.
    pub fn stop_within(&self) -> Option<Duration> {
        self.run.stop_seconds.map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = parse("docker/base-images/contract.toml", text).expect_err("is refused");
        assert_eq!(format!("{}: {}", error.place(), error.message), expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused(
            "[image]\nusr = \"fit\"\n",
            "docker/base-images/contract.toml:2:1: unknown field `usr`, expected one of `user`, `workdir`, \
             `entrypoint`, `cmd`, `exposed_ports`, `healthcheck`, `volumes`, `stop_signal`, `env`, `labels`",
        );
        refused(
            "[run]\nuid = \"fit\"\n",
            "docker/base-images/contract.toml:2:7: expected a whole number, 0 or more, found \"fit\"",
        );
        refused(
            "[image]\nuser = 'fit\n",
            "docker/base-images/contract.toml:2:12: invalid literal string, expected `'`",
        );
        refused(
            "[imag]\n",
            "docker/base-images/contract.toml:1:2: unknown field `imag`, expected one of `image`, `run`, `size`, `differs`",
        );
    }

    #[test]
    fn an_empty_contract_promises_nothing() {
        let contract = parse("contract.toml", "").expect("is one");
        assert_eq!(contract, Contract::default());
        assert!(contract.commands().is_empty());
        assert_eq!((contract.size_budget("debian"), contract.stop_within()), (None, None));
    }

    #[test]
    fn a_system_has_its_own_budget_or_the_common_one() {
        let contract =
            parse("contract.toml", "[size]\nbudget = 1500\nsystems.debian = 900\n").expect("is one");
        assert_eq!(contract.size_budget("debian"), Some(900_000_000));
        assert_eq!(contract.size_budget("alpine"), Some(1_500_000_000));
    }

    #[test]
    fn this_repos_contract_says_all_that_the_built_in_one_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/base-images").join(FILE);
        let own = parse(FILE, &std::fs::read_to_string(path).expect("there")).expect("is one");
        let built_in = Contract::built_in();
        assert_eq!(own.image.user, built_in.image.user);
        assert_eq!(own.image.exposed_ports, built_in.image.exposed_ports);
        assert_eq!(own.image.env.get("FIT_HOME"), built_in.image.env.get("FIT_HOME"));
        assert_eq!(own.run.uid, built_in.run.uid);
        assert_eq!(own.run.folders, built_in.run.folders);
        assert_eq!(own.commands(), built_in.commands());
    }
}
