//! The only door to host commands and processes: run, stream, detach, find, stop.
//!
//! In: a [`HostCommand`]. Out: what it printed, or a [`CommandError`] that shows its last lines. It decides
//! nothing about engines or packages and prints nothing. Work that only Linux has (bridges, apt-get) is
//! reached through commands here, so that everything compiles on macOS too.

#![expect(clippy::disallowed_methods, reason = "this is the one place that starts host commands")]

mod conversation;
pub mod inside;
pub mod lock;
mod measure;
mod process;
pub mod retry;
mod stamp;
mod tether;
pub mod watch;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};

pub use conversation::{Conversation, Ended};
pub use measure::Usage;
pub use process::{ProcessId, StopSignal, descendants, processes_naming};
pub use stamp::Stamp;
pub use tether::Tether;

/// How many of the last lines of each of a command's outputs an error carries.
const LAST_LINES: usize = 10;

/// Where root's tools live; an ordinary user's `PATH` often lacks them.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `sudo` would drop, and what downloads behind a company proxy need.
const KEPT_ACROSS_SUDO: &str = "HTTP_PROXY,HTTPS_PROXY,NO_PROXY,http_proxy,https_proxy,no_proxy";

/// The right to change the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// We are root.
    Root,
    /// `sudo` works without asking for a password.
    Sudo,
}

/// The right to change the machine, if we have it. Asked once a process.
pub fn privilege() -> Option<Privilege> {
    static PRIVILEGE: OnceLock<Option<Privilege>> = OnceLock::new();
    *PRIVILEGE.get_or_init(|| {
        if rustix::process::geteuid().is_root() {
            return Some(Privilege::Root);
        }
        query("sudo", &["-n", "true"]).map(|_| Privilege::Sudo)
    })
}

/// The user and the group that we run as.
pub fn user_and_group() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Bytes that this user may still write on the disk that a path lies on; none when the path cannot be looked at.
pub fn free_space(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// What this machine calls itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What a short host command prints on stdout; none when it is missing or fails. Blocks, so only for
/// commands that answer at once (git, dpkg-query).
pub fn query(program: &str, args: &[&str]) -> Option<String> {
    let shell = xshell::Shell::new().ok()?;
    xshell::cmd!(shell, "{program} {args...}").quiet().ignore_stderr().read().ok()
}

/// What a shell command prints on stdout when it is run in `folder`, without the newlines at its end; else why there is
/// nothing. Blocks.
///
/// # Errors
/// When it cannot be started, or ends with a status other than 0.
pub fn ask(command: &str, folder: &Path) -> Result<String, String> {
    let mut shell = HostCommand::script(command).in_folder(folder).to_std();
    let done = shell.stdin(Stdio::null()).output().map_err(|error| format!("cannot start `sh`: {error}"))?;
    if done.status.success() {
        let printed = String::from_utf8_lossy(&done.stdout);
        return Ok(printed.trim_end_matches(['\n', '\r']).to_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
    Err(format!("`{command}` {}{}", how_it_ended(done.status.code()), last.unwrap_or_default()))
}

/// Where a program is: in `PATH`, or where root's tools live.
pub fn find_program(name: &str) -> Option<PathBuf> {
    query("sh", &["-c", "PATH=$PATH:$1; command -v -- \"$2\"", "sh", ROOT_PATH, name])
        .map(|found| PathBuf::from(found.trim()))
        .filter(|found| found.is_absolute())
}

/// One host command, as it will be run.
#[derive(Clone, Debug)]
pub struct HostCommand {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    without: Vec<String>,
    folder: Option<PathBuf>,
    input: Option<String>,
    privilege: Option<Privilege>,
}

impl HostCommand {
    /// A program without arguments, as ourselves, in our own working folder.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            without: Vec::new(),
            folder: None,
            input: None,
            privilege: None,
        }
    }

    /// A shell script; `$1`… are the arguments that follow.
    pub fn script(text: &str) -> Self {
        Self::new("sh").args(["-c", text, "sh"])
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more argument that is a path. A path that is not UTF-8 is passed lossily: the paths that this
    /// program makes itself are all plain.
    pub fn path(self, path: &Path) -> Self {
        self.arg(path.to_string_lossy())
    }

    /// More arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The program and its arguments.
    pub fn words(&self) -> Vec<String> {
        std::iter::once(&self.program).chain(&self.args).cloned().collect()
    }

    /// A variable of its environment, beyond what it inherits.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// A variable that it does not inherit.
    pub fn without_env(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    /// Where it runs.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// What it reads on stdin; without it stdin is empty.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Run it as root.
    pub fn as_root(mut self, privilege: Privilege) -> Self {
        self.privilege = Some(privilege);
        self
    }

    /// Runs to its end and returns what it printed on stdout. Dropping the future stops the command.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a status other than 0.
    pub async fn output(self) -> Result<String, CommandError> {
        let mut stdout = String::new();
        self.lines(&mut |stream, line| {
            if stream == Stream::Stdout {
                stdout.push_str(line);
                stdout.push('\n');
            }
        })
        .await?;
        Ok(stdout)
    }

    /// Runs to its end, handing over each line as it is printed. Dropping the future stops the command and
    /// everything that it started.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a status other than 0.
    pub async fn lines(self, on_line: &mut (dyn FnMut(Stream, &str) + Send)) -> Result<(), CommandError> {
        let mut command = tokio::process::Command::from(self.to_std());
        command
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A group of its own: a Ctrl-C of the terminal reaches us alone, and we stop the whole group.
            .process_group(0);
        let mut child = command.spawn().map_err(|source| self.cannot_start(source))?;
        let mut group = Group { leader: child.id(), privilege: self.privilege };

        // Apart, since nobody knows in which order lines of different outputs were printed.
        let (mut last_out, mut last_err) = (VecDeque::new(), VecDeque::new());
        let mut stdout = child.stdout.take().map(BufReader::new);
        let mut stderr = child.stderr.take().map(BufReader::new);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let stdin = child.stdin.take();
        let feed = async {
            if let (Some(mut stdin), Some(text)) = (stdin, &self.input) {
                // A command that does not read its input to the end says why by its status.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let drain = async {
            while stdout.is_some() || stderr.is_some() {
                let (stream, line) = tokio::select! {
                    line = next_line(&mut stdout, &mut out), if stdout.is_some() => (Stream::Stdout, line),
                    line = next_line(&mut stderr, &mut err), if stderr.is_some() => (Stream::Stderr, line),
                };
                let Some(line) = line else { continue };
                on_line(stream, &line);
                let last = if stream == Stream::Stdout { &mut last_out } else { &mut last_err };
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(line);
            }
        };
        tokio::join!(feed, drain);
        let status = child.wait().await.map_err(|source| self.cannot_start(source))?;
        group.leader = None;
        last_out.append(&mut last_err);
        self.judge(status, last_out.into())
    }

    /// Runs to its end with our own terminal: stdin, stdout and stderr.
    ///
    /// # Errors
    /// As [`Self::pass_through`].
    pub async fn hand_over(self) -> Result<(), CommandError> {
        self.inheriting(Stdio::inherit()).await
    }

    /// Runs to its end with our own stdout and stderr. Dropping the future stops the command.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a status other than 0.
    pub async fn pass_through(self) -> Result<(), CommandError> {
        self.inheriting(Stdio::null()).await
    }

    async fn inheriting(self, stdin: Stdio) -> Result<(), CommandError> {
        let mut command = tokio::process::Command::from(self.to_std());
        let mut child =
            command.stdin(stdin).kill_on_drop(true).spawn().map_err(|source| self.cannot_start(source))?;
        let status = child.wait().await.map_err(|source| self.cannot_start(source))?;
        self.judge(status, Vec::new())
    }

    /// Starts it in a session of its own, its output appended to `log`, and lets go: it survives this
    /// process, and the terminal's Ctrl-C does not reach it. Its pid is its own business (a pid file).
    ///
    /// # Errors
    /// When the shell that starts it fails. A program that fails later says so in `log`.
    pub async fn detach(self, log: &Path) -> Result<(), CommandError> {
        // A background job of a shell without job control leads no process group, so that setsid takes its
        // place instead of forking once more.
        const DETACH: &str = "log=$1; shift; exec >>\"$log\" 2>&1 </dev/null; \
             if command -v setsid >/dev/null 2>&1; then setsid \"$@\" & else \"$@\" & fi";
        let mut command = Self::script(DETACH).path(log).arg(self.program).args(self.args);
        command.env = self.env;
        command.without = self.without;
        command.folder = self.folder;
        command.privilege = self.privilege;
        command.output().await.map(drop)
    }

    fn to_std(&self) -> std::process::Command {
        let mut command = match self.privilege {
            Some(Privilege::Sudo) => {
                let mut sudo = std::process::Command::new("sudo");
                sudo.args(["-n", &format!("--preserve-env={KEPT_ACROSS_SUDO}"), "env"]);
                sudo.args(self.env.iter().map(|(name, value)| format!("{name}={value}")));
                sudo.arg(&self.program);
                sudo
            }
            Some(Privilege::Root) => {
                let mut plain = std::process::Command::new(&self.program);
                plain.env("PATH", ROOT_PATH);
                plain
            }
            None => std::process::Command::new(&self.program),
        };
        command.args(&self.args);
        self.without.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    fn cannot_start(&self, source: std::io::Error) -> CommandError {
        CommandError::CannotStart { program: self.program.clone(), source }
    }

    fn judge(&self, status: std::process::ExitStatus, last_lines: Vec<String>) -> Result<(), CommandError> {
        if status.success() {
            return Ok(());
        }
        Err(CommandError::Failed { command: self.to_string(), code: status.code(), last_lines })
    }
}

/// The command as a person would type it; a script is shown as `sh -c …`, and no environment is shown.
impl fmt::Display for HostCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.privilege == Some(Privilege::Sudo) {
            f.write_str("sudo ")?;
        }
        f.write_str(&self.program)?;
        if self.program == "sh" {
            return f.write_str(" -c …");
        }
        for arg in &self.args {
            write!(f, " {}", shell_words::quote(arg))?;
        }
        Ok(())
    }
}

/// Which of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A host command that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not there, or may not be run.
    #[error("{}", why_not_started(program, source))]
    CannotStart {
        /// Its name.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("`{command}` {}{}", how_it_ended(*code), shown(last_lines))]
    Failed {
        /// As a person would type it.
        command: String,
        /// Its exit status; none when a signal ended it.
        code: Option<i32>,
        /// What it printed last.
        last_lines: Vec<String>,
    },
}

fn why_not_started(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no program `{program}` on this machine"),
        _ => format!("cannot start `{program}`: {error}"),
    }
}

fn how_it_ended(code: Option<i32>) -> String {
    code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("exited with status {code}"))
}

fn shown(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

/// The next line without its newline; none, and the reader gone, at the end.
async fn next_line<R: AsyncRead + Unpin>(
    reader: &mut Option<BufReader<R>>,
    buffer: &mut Vec<u8>,
) -> Option<String> {
    // `buffer` outlives a call: select! drops the loser's future, which may hold half a line.
    let open = reader.as_mut()?;
    if !matches!(open.read_until(b'\n', buffer).await, Ok(1..)) && buffer.is_empty() {
        *reader = None;
        return None;
    }
    while matches!(buffer.last(), Some(b'\n' | b'\r')) {
        buffer.pop();
    }
    let line = String::from_utf8_lossy(buffer).into_owned();
    buffer.clear();
    Some(line)
}

/// Stops a command's process group unless it ended by itself.
struct Group {
    leader: Option<u32>,
    privilege: Option<Privilege>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader else { return };
        if self.privilege == Some(Privilege::Sudo) {
            // Root's processes take no signal from us.
            query("sudo", &["-n", "kill", "-TERM", "--", &format!("-{leader}")]);
        } else if let Some(pid) = as_pid(leader) {
            // Gone already is fine.
            let _ = rustix::process::kill_process_group(pid, Signal::TERM);
        }
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_a_command_prints() {
        let printed = HostCommand::script("printf 'a b\\nc'; cat; echo no >&2").input("d\n").output().await;
        assert_eq!(printed.expect("runs"), "a b\ncd\n");
    }

    #[tokio::test]
    async fn what_is_left_out_is_not_inherited() {
        let has_path = |printed: String| printed.lines().any(|line| line.starts_with("PATH="));
        let asked = HostCommand::new("/usr/bin/env");
        assert!(has_path(asked.clone().output().await.expect("runs")));
        assert!(!has_path(asked.without_env("PATH").output().await.expect("runs")));
    }

    #[tokio::test]
    async fn a_failure_shows_status_and_last_lines() {
        let error = HostCommand::script("(seq 30; echo why) >&2; exit 7").output().await.expect_err("fails");
        let text = error.to_string();
        assert!(text.starts_with("`sh -c …` exited with status 7\n"), "{text}");
        assert!(text.contains("why") && text.contains("    30") && !text.contains("    2\n"), "{text}");
        let error = HostCommand::new("no-such-program-here").output().await.expect_err("is not there");
        assert!(error.to_string().starts_with("there is no program `no-such-program-here`"), "{error}");
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_do_no_harm() {
        let printed = HostCommand::script("printf 'a\\377b\\n\\n\\r\\nend'").output().await.expect("runs");
        assert_eq!(printed, "a\u{fffd}b\n\n\nend\n");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn dropping_a_command_stops_all_that_it_started() {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<u32>();
        let mut on_line = |_: Stream, line: &str| tell.send(line.parse().expect("a pid")).expect("is heard");
        let mut run = Box::pin(HostCommand::script("sh -c 'echo $$; sleep 600; :'; :").lines(&mut on_line));
        let grandchild = tokio::select! {
            _ = &mut run => panic!("ended by itself"),
            pid = told.recv() => ProcessId::of(pid.expect("is told")).expect("runs"),
        };
        drop(run);
        assert!(grandchild.ends_within(std::time::Duration::from_secs(5)).await, "it still runs");
    }

    #[test]
    fn knows_this_machine() {
        assert!(free_space(Path::new("/")).expect("a disk") > 0);
        assert_eq!(free_space(Path::new("/nowhere/at/all")), None);
        assert!(!host_name().is_empty());
    }

    #[test]
    fn finds_programs() {
        assert!(find_program("sh").expect("every machine has one").is_absolute());
        assert_eq!(find_program("no-such-program-here"), None);
    }
}
