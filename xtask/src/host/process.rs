//! Processes by an identity that outlives their number: alive, signalled, stopped, found.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CommandError, HostCommand, Privilege, query};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// When it was started, in a form that only compares: boot and clock ticks, or `ps`'s words.
    pub started: String,
}

impl ProcessId {
    /// The process that has this number now; none when there is none, or only its remains (a zombie).
    pub fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends a signal; gone already is fine.
    ///
    /// # Errors
    /// When the process may not be signalled.
    pub async fn signal(&self, signal: StopSignal, privilege: Option<Privilege>) -> Result<(), CommandError> {
        if !self.is_alive() {
            return Ok(());
        }
        let mut kill = HostCommand::script("kill \"$1\" \"$2\"").arg(signal.flag()).arg(self.pid.to_string());
        kill.privilege = privilege;
        match kill.output().await {
            Err(_) if !self.is_alive() => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Asks it to end, waits, and ends it by force if it does not.
    ///
    /// # Errors
    /// When the process may not be signalled.
    pub async fn stop(&self, grace: Duration, privilege: Option<Privilege>) -> Result<(), CommandError> {
        self.signal(StopSignal::Term, privilege).await?;
        if self.ends_within(grace).await {
            return Ok(());
        }
        self.signal(StopSignal::Kill, privilege).await?;
        self.ends_within(Duration::from_secs(5)).await;
        Ok(())
    }

    /// Ends it by force, at once and without waiting: for destructors. Gone already is fine.
    pub fn kill_now(&self) {
        if self.is_alive() {
            query("sh", &["-c", "kill -KILL \"$1\"", "sh", &self.pid.to_string()]);
        }
    }

    /// Waits for its end; false when it still runs after `grace`.
    pub async fn ends_within(&self, grace: Duration) -> bool {
        let wait = async {
            while self.is_alive() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }
}

/// `PID@START`, from which it can be read again.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.started)
    }
}

impl FromStr for ProcessId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.split_once('@').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, started: started.to_owned() })
    }
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// Politely.
    Term,
    /// By force.
    Kill,
}

impl StopSignal {
    fn flag(self) -> &'static str {
        match self {
            Self::Term => "-TERM",
            Self::Kill => "-KILL",
        }
    }
}

fn started(pid: u32) -> Option<String> {
    let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else {
        return query("ps", &["-o", "lstart=", "-p", &pid.to_string()])
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
    };
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (state, ticks) = parse_stat(&String::from_utf8_lossy(&stat))?;
    (!matches!(state, 'Z' | 'X')).then(|| format!("{}:{ticks}", boot.trim()))
}

/// State and start time of `/proc/PID/stat` (proc(5), fields 3 and 22). The name in field 2 may hold spaces
/// and parentheses, so counting begins behind the last `)`.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((state, ticks))
}

/// Processes that carry `marker` in one of their arguments, as a word or the beginning of a path. Linux only;
/// elsewhere none are found.
pub fn processes_naming(marker: &str) -> Vec<ProcessId> {
    process_ids()
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| names(&String::from_utf8_lossy(&line), marker))
        })
        .filter_map(ProcessId::of)
        .collect()
}

fn names(command_line: &str, marker: &str) -> bool {
    command_line.split('\0').any(|arg| {
        let value = arg.split_once('=').map_or(arg, |(_, value)| value);
        value.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Children, grandchildren and so on of a process. Linux only; elsewhere none are found.
pub fn descendants(pid: u32) -> Vec<ProcessId> {
    let parents: Vec<(u32, u32)> = process_ids()
        .filter_map(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((child, parent))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(ProcessId::of).collect()
}

fn process_ids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_detached_command_is_stopped_by_its_identity() {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, pid) = (folder.path().join("log"), folder.path().join("pid"));
        HostCommand::script("echo $$ > \"$1\"; echo started; exec sleep 600")
            .path(&pid)
            .detach(&log)
            .await
            .expect("starts");
        let process = loop {
            let number = std::fs::read_to_string(&pid).unwrap_or_default();
            if let Ok(number) = number.trim().parse() {
                break ProcessId::of(number).expect("runs");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let recycled = ProcessId { started: "another life".to_owned(), ..process.clone() };
        recycled.stop(Duration::from_secs(1), None).await.expect("nothing to stop");
        assert!(process.is_alive(), "a recycled number is left alone");
        process.stop(Duration::from_secs(5), None).await.expect("stops");
        assert!(!process.is_alive());
        assert_eq!(std::fs::read_to_string(&log).expect("a log"), "started\n");
    }

    #[test]
    fn reads_a_process_state_behind_any_name() {
        let stat = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 1";
        assert_eq!(parse_stat(stat), Some(('S', 987_654)));
        assert_eq!(parse_stat("42 (short) S 1"), None);
    }

    #[test]
    fn a_marker_is_a_word_or_the_beginning_of_a_path() {
        for (line, expected) in [
            ("dockerd\0--exec-root\0/run/xtask-1/exec", true),
            ("dockerd\0--exec-root=/run/xtask-1", true),
            ("containerd-shim\0-address\0/run/xtask-1/containerd.sock", true),
            ("dockerd\0--exec-root\0/run/xtask-12/exec", false),
            ("vi\0notes-on-/run/xtask-1", false),
        ] {
            assert_eq!(names(line, "/run/xtask-1"), expected, "{line:?}");
        }
    }
}
