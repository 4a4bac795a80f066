//! Pure: what was seen of the systems' images against the contract, and against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::super::checks::FIT_VERSION;
use super::{ANY, Contract, FOLDERS, UID};
use crate::model::{ExecOutput, ImageDetails, ImageName, SmokeCheck, SmokeVerdict, Stopped};

/// The exit status of a process that was ended by force.
const KILLED: i64 = 137;
/// Labels that say when and from what this one image was made; no two images agree on them.
const OF_ONE_BUILD: [&str; 4] =
    ["dev.xtask.*", "build.*", "org.opencontainers.image.created", "org.opencontainers.image.revision"];

/// One system's image, and what was seen of it.
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    /// Which image it is.
    pub image: &'a ImageName,
    /// `debian`
    pub os: &'a str,
    /// Of the framework.
    pub version: &'a str,
    /// What the image says of itself.
    pub details: &'a ImageDetails,
    /// What [`Contract::commands`] answered; a name that is not here was not asked, which is no failure.
    pub answers: &'a BTreeMap<String, ExecOutput>,
    /// How its container ended, if it was seen.
    pub stopped: Option<Stopped>,
}

/// One table: what is promised, and what each system has instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractComparison {
    /// The columns: `debian`, with the version and the platform where there are several: `debian 1.2.3 linux/arm64`.
    pub systems: Vec<String>,
    /// Whose they are.
    pub images: Vec<ImageName>,
    /// The points, in the contract's order.
    pub rows: Vec<Row>,
}

/// One point of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `user`, `env FIT_HOME`
    pub point: String,
    /// What is promised; none where the contract is silent.
    pub promised: Option<String>,
    /// By system: what it has, and whether that is right. None was not looked at.
    pub cells: Vec<Option<Cell>>,
}

/// What one system has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The value.
    pub value: String,
    /// Right or wrong.
    pub verdict: SmokeVerdict,
}

/// Compares the systems with the contract, and with each other where it is silent.
pub fn compare(contract: &Contract, systems: &[System<'_>]) -> ContractComparison {
    let several_versions = systems.iter().any(|system| system.version != systems[0].version);
    let several_platforms =
        systems.iter().any(|system| system.details.platform != systems[0].details.platform);
    let name = |system: &System<'_>| {
        let version = several_versions.then(|| system.version.to_owned());
        let platform = several_platforms.then(|| system.details.platform.to_string());
        let parts: Vec<String> =
            std::iter::once(system.os.to_owned()).chain(version).chain(platform).collect();
        parts.join(" ")
    };
    let images = systems.iter().map(|system| system.image.clone()).collect();
    let mut table = Table { systems, rows: Vec::new() };
    table.image(contract);
    table.variables(contract);
    table.labels(contract);
    table.size(contract);
    table.running(contract);
    ContractComparison { systems: systems.iter().map(name).collect(), images, rows: table.rows }
}

impl ContractComparison {
    /// Whether all systems keep the contract and agree with each other.
    pub fn holds(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| row.cells.iter().flatten())
            .all(|cell| cell.verdict != SmokeVerdict::Failed)
    }

    /// What is wrong, one line a point.
    pub fn findings(&self) -> Vec<String> {
        self.rows.iter().filter_map(|row| self.finding(row)).collect()
    }

    /// The points of one column as checks, for reports that know one image at a time.
    pub fn checks(&self, column: usize) -> Vec<SmokeCheck> {
        let check = |row: &Row| {
            let cell = row.cells.get(column)?.as_ref()?;
            let detail = match (&row.promised, cell.verdict) {
                (Some(promised), SmokeVerdict::Failed) => format!("{}, not {promised}", cell.value),
                (None, SmokeVerdict::Failed) => self.finding(row).unwrap_or_default(),
                _ => cell.value.clone(),
            };
            Some(SmokeCheck { name: format!("contract: {}", row.point), verdict: cell.verdict, detail })
        };
        self.rows.iter().filter_map(check).collect()
    }

    fn finding(&self, row: &Row) -> Option<String> {
        let cells =
            || self.systems.iter().zip(&row.cells).filter_map(|(os, cell)| Some((os, cell.as_ref()?)));
        if cells().all(|(_, cell)| cell.verdict != SmokeVerdict::Failed) {
            return None;
        }
        let told = |(os, cell): (&String, &Cell)| format!("{} on {os}", cell.value);
        Some(match &row.promised {
            Some(promised) => {
                let wrong: Vec<String> =
                    cells().filter(|(_, cell)| cell.verdict == SmokeVerdict::Failed).map(told).collect();
                format!("{}: {}, not {promised}", row.point, wrong.join(", "))
            }
            None => {
                let all: Vec<String> = cells().map(told).collect();
                format!("{}: the systems differ: {}", row.point, all.join(", "))
            }
        })
    }
}

struct Table<'a> {
    systems: &'a [System<'a>],
    rows: Vec<Row>,
}

impl Table<'_> {
    /// A point that every image has a value for. Where nothing is promised the systems have to agree, and the row only
    /// appears if they do not.
    fn point(
        &mut self,
        point: &str,
        promised: Option<&str>,
        value: impl Fn(&ImageDetails) -> Option<String>,
    ) {
        let values: Vec<Option<String>> = self.systems.iter().map(|system| value(system.details)).collect();
        match promised {
            Some(promised) => self.promised(point, promised, &values),
            None => self.silent(point, &values),
        }
    }

    fn promised(&mut self, point: &str, promised: &str, values: &[Option<String>]) {
        let cell = |(system, value): (&System<'_>, &Option<String>)| {
            let right = match value {
                Some(value) => promised == ANY || *value == filled_in(promised, system),
                None => false,
            };
            Some(Cell { value: shown(value.as_ref()), verdict: verdict(right) })
        };
        let cells = self.systems.iter().zip(values).map(cell).collect();
        let promised = if promised == ANY { "any".to_owned() } else { shown(Some(&self.for_all(promised))) };
        self.rows.push(Row { point: point.to_owned(), promised: Some(promised), cells });
    }

    fn silent(&mut self, point: &str, values: &[Option<String>]) {
        let mut said = self.systems.iter().zip(values).map(|(system, value)| {
            value.as_ref().map(|value| value.replace(system.version, "{version}").replace(system.os, "{os}"))
        });
        let Some(first) = said.next() else { return };
        if said.all(|value| value == first) {
            return;
        }
        let cell = |value: &Option<String>| {
            Some(Cell { value: shown(value.as_ref()), verdict: SmokeVerdict::Failed })
        };
        self.rows.push(Row {
            point: point.to_owned(),
            promised: None,
            cells: values.iter().map(cell).collect(),
        });
    }

    fn image(&mut self, contract: &Contract) {
        let promise = &contract.image;
        let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| words.join(" "));
        let set = |words: &Option<Vec<String>>| {
            let set: Option<BTreeSet<&str>> = words.as_ref().map(|w| w.iter().map(String::as_str).collect());
            set.map(|set| set.into_iter().collect::<Vec<_>>().join(" "))
        };
        let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        self.point("user", promise.user.as_deref(), |image| Some(image.user.clone()));
        self.point("workdir", promise.workdir.as_deref(), |image| Some(image.workdir.clone()));
        self.point("entrypoint", words(&promise.entrypoint).as_deref(), |image| {
            Some(image.entrypoint.join(" "))
        });
        self.point("cmd", words(&promise.cmd).as_deref(), |image| Some(image.cmd.join(" ")));
        self.point("ports", set(&promise.exposed_ports).as_deref(), |image| {
            Some(joined(&image.exposed_ports))
        });
        self.point("health check", words(&promise.healthcheck).as_deref(), |image| {
            let test = &image.healthcheck.as_ref()?.test;
            let words = match test.first().map(String::as_str) {
                Some("CMD" | "CMD-SHELL") => &test[1..],
                _ => test,
            };
            Some(words.join(" "))
        });
        self.point("volumes", set(&promise.volumes).as_deref(), |image| Some(joined(&image.volumes)));
        self.point("stop signal", promise.stop_signal.as_deref(), |image| {
            Some(image.stop_signal.clone().unwrap_or_else(|| "SIGTERM".to_owned()))
        });
    }

    fn variables(&mut self, contract: &Contract) {
        for (name, promised) in &contract.image.env {
            self.point(&format!("env {name}"), Some(promised), |image| image.env.get(name).cloned());
        }
        let others = self.keys(&contract.image.env, &contract.differs.env, &[], |image| &image.env);
        for name in others {
            self.point(&format!("env {name}"), None, |image| image.env.get(&name).cloned());
        }
    }

    fn labels(&mut self, contract: &Contract) {
        for (name, promised) in &contract.image.labels {
            self.point(&format!("label {name}"), Some(promised), |image| image.labels.get(name).cloned());
        }
        let others =
            self.keys(&contract.image.labels, &contract.differs.labels, &OF_ONE_BUILD, |image| &image.labels);
        for name in others {
            self.point(&format!("label {name}"), None, |image| image.labels.get(&name).cloned());
        }
    }

    /// The names that any system has, without those that are promised or may differ.
    fn keys(
        &self,
        promised: &BTreeMap<String, String>,
        differs: &[String],
        ignored: &[&str],
        of: impl Fn(&ImageDetails) -> &BTreeMap<String, String>,
    ) -> BTreeSet<String> {
        let may_differ = |name: &str| {
            differs
                .iter()
                .map(String::as_str)
                .chain(ignored.iter().copied())
                .any(|pattern| matches(pattern, name))
        };
        let all: BTreeSet<String> =
            self.systems.iter().flat_map(|system| of(system.details).keys().cloned()).collect();
        all.into_iter().filter(|name| !promised.contains_key(name) && !may_differ(name)).collect()
    }

    fn size(&mut self, contract: &Contract) {
        let budgets: Vec<Option<u64>> =
            self.systems.iter().map(|system| contract.size_budget(system.os)).collect();
        if budgets.iter().all(Option::is_none) {
            return;
        }
        let cell = |(system, budget): (&System<'_>, &Option<u64>)| {
            let size = system.details.size;
            let fits = budget.is_none_or(|budget| size <= budget);
            Some(Cell { value: megabytes(size), verdict: verdict(fits) })
        };
        let promised: BTreeSet<u64> = budgets.iter().flatten().copied().collect();
        let promised: Vec<String> = promised.into_iter().map(megabytes).collect();
        let cells = self.systems.iter().zip(&budgets).map(cell).collect();
        let promised = Some(format!("at most {}", promised.join(" or ")));
        self.rows.push(Row { point: "size".to_owned(), promised, cells });
    }

    fn running(&mut self, contract: &Contract) {
        let promise = &contract.run;
        if let Some(uid) = promise.uid {
            self.answered("uid", &uid.to_string(), UID, |_, answer| {
                let said = answer.stdout.trim().to_owned();
                let right = said == uid.to_string();
                (said, right)
            });
        }
        if let Some(wanted) = &promise.fit_version {
            self.answered("fit version", &format!("a text with {wanted}"), FIT_VERSION, |system, answer| {
                let said = answer.stdout.trim().lines().next().unwrap_or_default().to_owned();
                let right = names(&answer.stdout, &filled_in(wanted, system));
                (said, right)
            });
        }
        for (folder, owner) in &promise.folders {
            self.answered(folder, &format!("{owner}'s"), FOLDERS, |_, answer| {
                let found = answer.stdout.lines().filter_map(|line| line.split_once(' '));
                match found.into_iter().find(|(_, name)| name == folder) {
                    Some((who, _)) => (format!("{who}'s"), who == owner),
                    None => ("missing".to_owned(), false),
                }
            });
        }
        self.stops(contract);
    }

    /// A point that a command in the container tells.
    fn answered(
        &mut self,
        point: &str,
        promised: &str,
        name: &str,
        judge: impl Fn(&System<'_>, &ExecOutput) -> (String, bool),
    ) {
        let cell = |system: &System<'_>| {
            let answer = system.answers.get(name)?;
            if answer.exit_code != 0 {
                let why = answer.stderr.trim().lines().next_back().unwrap_or_default();
                let value = format!("status {}: {why}", answer.exit_code);
                return Some(Cell { value, verdict: SmokeVerdict::Failed });
            }
            let (value, right) = judge(system, answer);
            Some(Cell { value: shown(Some(&value)), verdict: verdict(right) })
        };
        let cells = self.systems.iter().map(cell).collect();
        let promised = Some(self.for_all(promised));
        self.rows.push(Row { point: point.to_owned(), promised, cells });
    }

    /// A promise filled in, if that makes the same text for all systems; else as it is written.
    fn for_all(&self, promised: &str) -> String {
        let texts: BTreeSet<String> = self.systems.iter().map(|system| filled_in(promised, system)).collect();
        let mut texts = texts.into_iter();
        match (texts.next(), texts.next()) {
            (Some(text), None) => text,
            _ => promised.to_owned(),
        }
    }

    fn stops(&mut self, contract: &Contract) {
        let promise = &contract.run;
        let within = contract.stop_within();
        let is_killed =
            |system: &System<'_>| system.stopped.and_then(|stopped| stopped.exit_code) == Some(KILLED);
        // Whatever is promised: an end by force is none.
        if within.is_none() && !self.systems.iter().any(is_killed) {
            return;
        }
        let statuses = promise.stop_status.as_ref();
        let cell = |system: &System<'_>| {
            let stopped = system.stopped?;
            let after = format!("{:.1} s", stopped.after.as_secs_f64());
            let right = match (stopped.exit_code, statuses) {
                (Some(code), Some(statuses)) => statuses.contains(&code),
                (Some(code), None) => code != KILLED,
                (None, _) => true,
            };
            let value = match stopped.exit_code {
                Some(code) => format!("after {after}, status {code}"),
                None => format!("after {after}"),
            };
            Some(Cell {
                value,
                verdict: verdict(right && within.is_none_or(|within| stopped.after <= within)),
            })
        };
        let mut promised = match within {
            Some(within) => format!("within {} s", within.as_secs()),
            None => "without being killed".to_owned(),
        };
        if let Some(statuses) = statuses {
            let statuses: Vec<String> = statuses.iter().map(i64::to_string).collect();
            promised.push_str(&format!(", status {}", statuses.join(" or ")));
        }
        let cells = self.systems.iter().map(cell).collect();
        self.rows.push(Row { point: "stops".to_owned(), promised: Some(promised), cells });
    }
}

fn verdict(right: bool) -> SmokeVerdict {
    if right { SmokeVerdict::Passed } else { SmokeVerdict::Failed }
}

fn filled_in(promised: &str, system: &System<'_>) -> String {
    promised.replace("{version}", system.version).replace("{os}", system.os)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// Whether a text names a version, and not just one that begins like it.
fn names(text: &str, version: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || ".-_+".contains(c)))
        .any(|word| word == version || word.strip_prefix('v') == Some(version))
}

fn shown(value: Option<&String>) -> String {
    match value {
        Some(value) if value.is_empty() => "none".to_owned(),
        Some(value) => value.clone(),
        None => "missing".to_owned(),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
