//! A program that lives no longer than this process, however this process ends.
//!
//! A small shell starts the program and holds the other end of a pipe. When that closes (the tether is let go or
//! dropped, or this process is killed), the shell ends the program and removes its folder.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use super::{CommandError, HostCommand, ProcessId};

/// `$1` the folder, `$2` the program's log; the rest is the program. A Ctrl-C of the terminal is not for it.
const TETHER: &str = r#"
trap '' INT TERM HUP
folder=$1 log=$2
shift 2
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
printf '%s\n' "$pid" >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
read -r _
kill -TERM "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
kill -KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
rm -rf -- "$folder"
"#;

/// How long the shell may take to start the program.
const START: Duration = Duration::from_secs(10);

/// Holds a program; dropping it ends the program and removes its folder, a moment later.
#[derive(Debug)]
pub struct Tether {
    shell: Child,
    pipe: Option<ChildStdin>,
    process: ProcessId,
}

impl Tether {
    /// The program's process.
    pub fn process(&self) -> &ProcessId {
        &self.process
    }

    /// Ends the program, and waits until it and its folder are gone.
    pub async fn let_go(mut self) {
        drop(self.pipe.take());
        let mut shell = self.shell;
        // The shell ends within a few seconds whatever the program does.
        let _ = tokio::task::spawn_blocking(move || shell.wait()).await;
    }
}

impl HostCommand {
    /// Starts it tied to this process, its output appended to `log`. `folder` is there already, holds everything of
    /// the program's, and goes with it.
    ///
    /// # Errors
    /// When it cannot be started. A program that ends by itself later says so in `log`.
    pub async fn tether(self, folder: &Path, log: &Path) -> Result<Tether, CommandError> {
        let command = Self::script(TETHER).path(folder).path(log).arg(self.program).args(self.args);
        let mut shell = command.to_std();
        let shell = shell
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut shell = shell.map_err(|source| command.cannot_start(source))?;
        let pipe = shell.stdin.take();
        match tokio::time::timeout(START, read_pid(&folder.join("pid"))).await {
            Ok(process) => Ok(Tether { shell, pipe, process }),
            Err(_) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "its shell does not answer");
                Err(command.cannot_start(late))
            }
        }
    }
}

/// The shell writes the number once it has started the program, which may be over already.
async fn read_pid(file: &Path) -> ProcessId {
    loop {
        let number = tokio::fs::read_to_string(file).await.ok();
        if let Some(pid) = number.and_then(|text| text.trim().parse().ok()) {
            return ProcessId::of(pid).unwrap_or(ProcessId { pid, started: String::new() });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_goes_with_its_tether() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("own");
        std::fs::create_dir(&folder).expect("a folder");
        let log = folder.join("log");
        let command = HostCommand::script("echo up; echo $WHO; exec sleep 600").env("WHO", "me");
        let tether = command.tether(&folder, &log).await.expect("starts");
        let process = tether.process().clone();
        assert!(process.is_alive());
        // The program makes it itself, a moment later.
        while std::fs::read_to_string(&log).unwrap_or_default() != "up\nme\n" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tether.let_go().await;
        assert!(!process.is_alive() && !folder.exists());
    }

    #[tokio::test]
    async fn dropping_it_is_enough_and_a_program_may_end_by_itself() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("own");
        std::fs::create_dir(&folder).expect("a folder");
        let tether = HostCommand::new("false").tether(&folder, &folder.join("log")).await.expect("starts");
        assert!(tether.process().ends_within(Duration::from_secs(5)).await);
        drop(tether);
        let gone = async {
            while folder.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the folder goes too");
    }
}
