//! `ssh://` endpoints as the docker CLI has them: `ssh` runs `docker system dial-stdio` on the far side, one process a
//! connection (docs.docker.com, "Protect the Docker daemon socket": "Use SSH"; github.com/docker/cli,
//! `cli/connhelper`). Keys, ports and aliases of hosts are ssh's own business (`~/.ssh/config`).
//!
//! In: the text of an endpoint. Out: a connection, or what ssh said. Nobody is ever asked anything: whoever needs a
//! password or has not seen the host's key yet is told so.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::host::{Conversation, Ended, HostCommand};

/// How long ssh may take to reach the host. Whoever waits for the first answer waits a little longer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections that are being opened at the same time: a server drops more than ten that have not said yet who they
/// are (sshd_config(5), `MaxStartups`).
const OPENING: usize = 6;
/// After so long a connection counts as open, whatever the engine answers.
const OPENED_AFTER: Duration = Duration::from_secs(5);

/// Where to, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) user: Option<String>,
    /// As written: an alias of `~/.ssh/config` as well as a name or an address.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// The engine's socket on the far side; none is docker's own choice there.
    pub(super) socket: Option<String>,
}

impl Spec {
    /// What follows `ssh://`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        if let Some(c) = rest.chars().find(|c| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control())
        {
            return Err(format!("an ssh endpoint holds no {c:?}: ssh://[USER@]HOST[:PORT][/SOCKET]"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(
                "a password has no place in an ssh endpoint: ssh takes keys, from a file or an agent"
                    .to_owned(),
            );
        }
        let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = match port {
            Some(port) => {
                Some(port.parse().ok().filter(|port| *port != 0).ok_or(format!("`{port}` is not a port"))?)
            }
            None => None,
        };
        if host.is_empty() || user == Some("") {
            return Err("an ssh endpoint names a host: ssh://[USER@]HOST[:PORT]".to_owned());
        }
        // ssh would take it for an option, and options can run programs.
        if let Some(odd) = [Some(host), user].into_iter().flatten().find(|word| word.starts_with('-')) {
            return Err(format!("`{odd}` begins with a dash, which no host and no user does"));
        }
        let socket = Some(path).filter(|path| !path.trim_matches('/').is_empty());
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: socket.map(str::to_owned),
        })
    }

    /// What is run. `BatchMode` keeps ssh from asking anything: nobody could see the question.
    fn command(&self) -> HostCommand {
        let wait = format!("ConnectTimeout={}", CONNECT_TIMEOUT.as_secs());
        let mut command = HostCommand::new("ssh").args(["-T", "-o", "BatchMode=yes", "-o", &wait]);
        if let Some(user) = &self.user {
            command = command.args(["-l", user]);
        }
        if let Some(port) = self.port {
            command = command.args(["-p".to_owned(), port.to_string()]);
        }
        command = command.args(["--", &self.host, "docker"]);
        if let Some(socket) = &self.socket {
            // A shell over there reads it.
            command = command.arg(shell_words::quote(&format!("--host=unix://{socket}")));
        }
        command.args(["system", "dial-stdio"])
    }

    /// What a person types to see for themselves.
    fn by_hand(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("-l {user} ")).unwrap_or_default();
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("ssh {user}{port}{}", self.host)
    }
}

/// An ssh endpoint. Clones share what is being opened.
#[derive(Clone, Debug)]
pub(super) struct Ssh {
    spec: Arc<Spec>,
    /// The `PATH` that `ssh` is looked for in; none is this process's.
    path: Option<String>,
    opening: Arc<Semaphore>,
}

impl Ssh {
    pub(super) fn new(spec: Spec, path: Option<String>) -> Self {
        Self { spec: Arc::new(spec), path, opening: Arc::new(Semaphore::new(OPENING)) }
    }

    /// Starts one more ssh. Whether the host can be reached shows when it is read from.
    pub(super) async fn open(&self) -> io::Result<(Conversation, Opening)> {
        let permit = self.opening.clone().acquire_owned().await.ok();
        let mut command = self.spec.command();
        if let Some(path) = &self.path {
            command = command.env("PATH", path);
        }
        let conversation = command.converse().map_err(|error| {
            io::Error::other(format!("{error}; ssh:// endpoints need it (`apt-get install openssh-client`)"))
        })?;
        Ok((conversation, Opening::new(permit)))
    }

    /// Why there was no answer, in words that name the host and say what helps.
    pub(super) fn explain(&self, cause: &io::Error) -> io::Error {
        let ended = cause.get_ref().and_then(|cause| cause.downcast_ref::<Ended>());
        let text = match ended {
            Some(ended) => explain(&self.spec, ended),
            None => format!("ssh to {}: {cause}", self.spec.host),
        };
        io::Error::other(text)
    }

    /// Something came back that is no HTTP.
    pub(super) fn explain_noise(&self) -> io::Error {
        let Spec { host, .. } = &*self.spec;
        let by_hand = self.spec.by_hand();
        io::Error::other(format!(
            "ssh to {host}: something else than the engine speaks there; see that `{by_hand} true` prints nothing"
        ))
    }
}

/// Counts a connection among those that are being opened, until it is open.
pub(super) struct Opening(Option<tokio::sync::oneshot::Sender<()>>);

impl Opening {
    fn new(permit: Option<OwnedSemaphorePermit>) -> Self {
        let (open, opened) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            // Told, dropped or late: it is not being opened any more.
            let _ = tokio::time::timeout(OPENED_AFTER, opened).await;
            drop(permit);
        });
        Self(Some(open))
    }

    /// The engine has answered.
    pub(super) fn done(mut self) {
        self.0.take();
    }
}

fn explain(spec: &Spec, ended: &Ended) -> String {
    let Spec { host, .. } = spec;
    let by_hand = spec.by_hand();
    let said = ended.last_line.as_deref().unwrap_or_default().trim_end_matches('.');
    let has = |text: &str| said.to_ascii_lowercase().contains(text);
    let try_this = if has("permission denied (") || has("too many authentication failures") {
        format!("load your key (`ssh-add`), and see that `{by_hand} true` asks for nothing")
    } else if has("host key verification failed") || has("remote host identification has changed") {
        format!("`{by_hand}` by hand shows the host's key, and whether it is the right one")
    } else if has("could not resolve hostname") {
        "see whether the name is right, or an alias of ~/.ssh/config".to_owned()
    } else if ended.code == Some(127) || has("docker: not found") || has("docker: command not found") {
        format!("`{by_hand} docker version` has to work: the docker program is needed there")
    } else if has("/docker.sock") && has("permission denied") {
        format!("the user over there needs the group `docker`: `{by_hand} docker version`")
    } else {
        format!("`{by_hand} docker version` shows more")
    };
    let said = if said.is_empty() { ended.how() } else { format!("{said} ({})", ended.how()) };
    format!("ssh to {host}: {said}; {try_this}")
}

#[cfg(test)]
mod tests {
    use super::super::{EngineError, Store as _, Surroundings, connect};
    use super::*;

    #[track_caller]
    fn check(rest: &str, command: &str) {
        let text = match Spec::parse(rest) {
            Ok(spec) => spec.command().words().join(" "),
            Err(cause) => cause,
        };
        let text = text.replace("ssh -T -o BatchMode=yes -o ConnectTimeout=15 ", "… ");
        assert_eq!(text, command, "ssh://{rest}");
    }

    #[test]
    fn endpoints_become_commands() {
        check("far", "… -- far docker system dial-stdio");
        check("ada@far:2222", "… -l ada -p 2222 -- far docker system dial-stdio");
        check("ada@far:2222/", "… -l ada -p 2222 -- far docker system dial-stdio");
        check("a@b@far", "… -l a@b -- far docker system dial-stdio");
        check("[fe80::1%eth0]:22", "… -p 22 -- fe80::1%eth0 docker system dial-stdio");
        check("[::1]", "… -- ::1 docker system dial-stdio");
        check("My_Alias.x", "… -- My_Alias.x docker system dial-stdio");
        check(
            "far/run/user/1/docker.sock",
            "… -- far docker '--host=unix:///run/user/1/docker.sock' system dial-stdio",
        );
        check("far/a;rm$(b)", "… -- far docker '--host=unix:///a;rm$(b)' system dial-stdio");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        check("", "an ssh endpoint names a host: ssh://[USER@]HOST[:PORT]");
        check("@far", "an ssh endpoint names a host: ssh://[USER@]HOST[:PORT]");
        check(":22", "an ssh endpoint names a host: ssh://[USER@]HOST[:PORT]");
        check("far:", "`` is not a port");
        check("far:0", "`0` is not a port");
        check("far:99999", "`99999` is not a port");
        check("[::1]22x", "`22x` is not a port");
        check("-oProxyCommand=x", "`-oProxyCommand=x` begins with a dash, which no host and no user does");
        check("-l@far", "`-l` begins with a dash, which no host and no user does");
        check(
            "ada:secret@far",
            "a password has no place in an ssh endpoint: ssh takes keys, from a file or an agent",
        );
        check("far?x=1", "an ssh endpoint holds no '?': ssh://[USER@]HOST[:PORT][/SOCKET]");
        check("far away", "an ssh endpoint holds no ' ': ssh://[USER@]HOST[:PORT][/SOCKET]");
    }

    #[test]
    fn what_ssh_says_is_told_with_what_helps() {
        let spec = Spec::parse("ada@far:2222").expect("an endpoint");
        for (code, line, told) in [
            (
                255,
                "ada@far: Permission denied (publickey).",
                "ssh to far: ada@far: Permission denied (publickey) (exited with status 255); load your key (`ssh-add`), \
                 and see that `ssh -l ada -p 2222 far true` asks for nothing",
            ),
            (
                255,
                "Host key verification failed.",
                "ssh to far: Host key verification failed (exited with status 255); `ssh -l ada -p 2222 far` by hand \
                 shows the host's key, and whether it is the right one",
            ),
            (
                127,
                "bash: line 1: docker: command not found",
                "ssh to far: bash: line 1: docker: command not found (exited with status 127); `ssh -l ada -p 2222 far \
                 docker version` has to work: the docker program is needed there",
            ),
            (1, "", "ssh to far: exited with status 1; `ssh -l ada -p 2222 far docker version` shows more"),
        ] {
            let last_line = Some(line.to_owned()).filter(|line| !line.is_empty());
            let ended = Ended { program: "ssh".to_owned(), code: Some(code), last_line };
            assert_eq!(explain(&spec, &ended), told);
        }
    }

    fn surroundings(host: &str, path: &str) -> Surroundings {
        let find = |name: &str| match name {
            "DOCKER_HOST" => Some(host.to_owned()),
            "PATH" => Some(path.to_owned()),
            _ => None,
        };
        Surroundings::new(&find, None)
    }

    /// A program called `ssh`. Another process writes it: a program that this one was still writing while another thread
    /// started something could not be run ("Text file busy").
    #[expect(clippy::disallowed_methods, reason = "a test waits for it")]
    fn write_program(folder: &std::path::Path, script: &str) {
        let text = folder.join("ssh.text");
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("written");
        let install =
            std::process::Command::new("install").arg("-m755").arg(text).arg(folder.join("ssh")).status();
        assert!(install.expect("install runs").success());
    }

    /// `DOCKER_HOST=ssh://ada@far` with a program called `ssh` that does what a script says.
    fn through_ssh(folder: &std::path::Path, script: &str) -> Surroundings {
        write_program(folder, script);
        let path = format!("{}:/usr/bin:/bin", folder.display());
        surroundings("ssh://ada@far", &path)
    }

    #[tokio::test]
    async fn ssh_that_fails_says_why() {
        let folder = tempfile::tempdir().expect("folder");
        for (script, told) in [
            (
                "echo 'ada@far: Permission denied (publickey).' >&2; exit 255",
                "ssh to far: ada@far: Permission denied (publickey) (exited with status 255); load your key \
                 (`ssh-add`), and see that `ssh -l ada far true` asks for nothing",
            ),
            (
                "cat >/dev/null & echo Welcome; sleep 5",
                "ssh to far: something else than the engine speaks there; see that `ssh -l ada far true` prints nothing",
            ),
        ] {
            let Err(EngineError::Unreachable { tried, .. }) =
                connect(&through_ssh(folder.path(), script)).await
            else {
                panic!("an engine behind {script}?");
            };
            assert_eq!(tried, [("ssh://ada@far (DOCKER_HOST)".to_owned(), told.to_owned())]);
        }
        let nowhere = surroundings("ssh://far", "/nowhere");
        let Err(EngineError::Unreachable { tried, .. }) = connect(&nowhere).await else {
            panic!("no ssh, no engine")
        };
        assert!(tried[0].1.starts_with("there is no program `ssh` on this machine"), "{tried:?}");
    }

    #[tokio::test]
    async fn an_engine_answers_through_ssh_and_no_ssh_is_left() {
        let folder = tempfile::tempdir().expect("folder");
        let words = folder.path().join("words");
        let pid = folder.path().join("pid");
        let script = format!(
            "echo $$ > {}; printf '%s ' \"$@\" > {}; read -r _; \
             printf 'HTTP/1.1 200 OK\\r\\nApi-Version: 1.43\\r\\nContent-Length: 2\\r\\n\\r\\nOK'; \
             exec cat >/dev/null",
            pid.display(),
            words.display()
        );
        let engine = connect(&through_ssh(folder.path(), &script)).await.expect("answers");
        assert_eq!(engine.endpoint(), "ssh://ada@far");
        assert!(!engine.may_share_loopback(), "its 127.0.0.1 is another one");
        assert_eq!(
            std::fs::read_to_string(&words).expect("is called"),
            "-T -o BatchMode=yes -o ConnectTimeout=15 -l ada -- far docker system dial-stdio "
        );
        let pid = std::fs::read_to_string(&pid).expect("has run").trim().parse().expect("a number");
        if let Some(process) = crate::host::ProcessId::of(pid) {
            assert!(process.ends_within(Duration::from_secs(5)).await, "ssh still runs");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_opened_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        write_program(folder.path(), "exec cat");
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let ssh = Ssh::new(Spec::parse("far").expect("an endpoint"), Some(path));
        let mut open = Vec::new();
        for _ in 0..OPENING {
            open.push(ssh.open().await.expect("starts"));
        }
        let one_more = tokio::time::timeout(OPENED_AFTER / 2, ssh.open()).await;
        assert!(one_more.is_err(), "it waits");
        let (conversation, opening) = open.pop().expect("one of them");
        opening.done();
        let one_more = tokio::time::timeout(OPENED_AFTER / 4, ssh.open()).await.expect("has room now");
        tokio::time::sleep(OPENED_AFTER).await;
        // The others count as open by now, whatever they do.
        open.push(ssh.open().await.expect("starts"));
        drop((one_more, conversation, open));
    }
}
