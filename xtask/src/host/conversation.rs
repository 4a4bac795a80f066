//! A program's stdin and stdout as one connection, for programs that only pass bytes on (`ssh`).
//!
//! Letting go of it closes both pipes; a program that does not end by itself then is ended. How a program ended, and
//! the last line that it printed on stderr, become the error of whoever still reads or writes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{CommandError, HostCommand, as_pid};

/// How long a program whose pipes are closed may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// Its last words may come a moment after its end. Something that it left running may hold stderr open for good.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The longest line of stderr that is kept.
const MAX_LINE: usize = 400;

/// How a conversation's program ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{program} {}{}", super::how_it_ended(*code), last_line.as_deref().map(|line| format!(": {line}")).unwrap_or_default())]
pub struct Ended {
    /// Its name.
    pub program: String,
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// The last line on stderr that is not empty.
    pub last_line: Option<String>,
}

impl Ended {
    /// `exited with status 1`
    pub fn how(&self) -> String {
        super::how_it_ended(self.code)
    }
}

/// A running program to speak to.
pub struct Conversation {
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// Stdout is at its end.
    is_silent: bool,
    ended: watch::Receiver<Option<Ended>>,
    ending: Option<Pin<Box<dyn Future<Output = Option<Ended>> + Send>>>,
    /// Dropped with the rest, and so the signal that nobody listens any more.
    _listening: oneshot::Sender<()>,
}

impl HostCommand {
    /// Starts it as something to speak to. A Ctrl-C of the terminal does not reach it, so that what runs through it
    /// can be wound down.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn converse(self) -> Result<Conversation, CommandError> {
        let mut command = tokio::process::Command::from(self.to_std());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let mut child = command.spawn().map_err(|source| self.cannot_start(source))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(self.cannot_start(io::Error::other("it has no pipes")));
        };
        let (tell, ended) = watch::channel(None);
        let (listening, silence) = oneshot::channel();
        tokio::spawn(attend(self.program, child, stderr, silence, tell));
        Ok(Conversation { stdin, stdout, is_silent: false, ended, ending: None, _listening: listening })
    }
}

/// Stays with the program until it is over.
async fn attend(
    program: String,
    mut child: Child,
    stderr: ChildStderr,
    silence: oneshot::Receiver<()>,
    tell: watch::Sender<Option<Ended>>,
) {
    let last_line = Arc::new(Mutex::new(None));
    let mut words = AbortOnDropHandle::new(tokio::spawn(listen(stderr, last_line.clone())));
    let status = tokio::select! {
        status = child.wait() => status.ok(),
        _ = silence => end(&mut child).await,
    };
    let _ = tokio::time::timeout(LAST_WORDS, &mut words).await;
    let last_line = last_line.lock().unwrap_or_else(PoisonError::into_inner).take();
    tell.send_replace(Some(Ended { program, code: status.and_then(|status| status.code()), last_line }));
}

/// Waits for a program whose pipes are closed, and ends it, and what it started, if it does not end by itself.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status.ok();
    }
    if let Some(group) = child.id().and_then(as_pid) {
        // Gone already is fine.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    child.wait().await.ok()
}

async fn listen(stderr: ChildStderr, last_line: Arc<Mutex<Option<String>>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        let text: String = String::from_utf8_lossy(&line).trim().chars().take(MAX_LINE).collect();
        if !text.is_empty() {
            *last_line.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
        line.clear();
    }
}

impl Conversation {
    /// How the program ended, once it has; none when it still runs after a while.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Option<Ended>> {
        let ending = self.ending.get_or_insert_with(|| {
            let mut ended = self.ended.clone();
            Box::pin(async move {
                let told = tokio::time::timeout(GRACE, ended.wait_for(Option::is_some)).await;
                told.ok()?.ok()?.clone()
            })
        });
        let ended = ready!(ending.as_mut().poll(context));
        self.ending = None;
        Poll::Ready(ended)
    }

    /// What a broken pipe means.
    fn poll_broken(&mut self, context: &mut Context<'_>, error: io::Error) -> Poll<io::Error> {
        match ready!(self.poll_ended(context)) {
            Some(ended) if ended.code != Some(0) => Poll::Ready(io::Error::other(ended)),
            _ => Poll::Ready(error),
        }
    }
}

impl AsyncRead for Conversation {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if !this.is_silent {
            ready!(Pin::new(&mut this.stdout).poll_read(context, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.is_silent = true;
        }
        match ready!(this.poll_ended(context)) {
            Some(ended) if ended.code != Some(0) => Poll::Ready(Err(io::Error::other(ended))),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut this.stdin).poll_write(context, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Poll::Ready(Err(ready!(this.poll_broken(context, error))))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stdin).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stdin).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_said_comes_back() {
        let mut cat = HostCommand::new("cat").converse().expect("starts");
        cat.write_all(b"hello").await.expect("is taken");
        let mut heard = [0; 5];
        cat.read_exact(&mut heard).await.expect("comes back");
        assert_eq!(&heard, b"hello");
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why_to_whoever_reads_and_writes() {
        let script = "echo first >&2; echo 'no route' >&2; exec >&- 2>&-; exit 255";
        let mut program = HostCommand::script(script).converse().expect("starts");
        let error = program.read(&mut [0; 8]).await.expect_err("fails");
        assert_eq!(error.to_string(), "sh exited with status 255: no route");
        let mut program =
            HostCommand::script("exec <&-; echo why >&2; sleep 0.1; exit 3").converse().expect("starts");
        let wrote = async {
            loop {
                if let Err(error) = program.write_all(&[0; 4096]).await {
                    return error;
                }
            }
        };
        assert_eq!(wrote.await.to_string(), "sh exited with status 3: why");
    }

    #[tokio::test]
    async fn a_good_end_is_an_end() {
        let mut program = HostCommand::script("printf bye; echo odd >&2").converse().expect("starts");
        let mut heard = String::new();
        program.read_to_string(&mut heard).await.expect("ends");
        assert_eq!(heard, "bye");
        let error = HostCommand::new("no-such-program-here").converse().err().expect("is not there");
        assert!(error.to_string().starts_with("there is no program `no-such-program-here`"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn letting_go_ends_it() {
        let mut stubborn =
            HostCommand::script("trap '' TERM; echo $$; exec sleep 600").converse().expect("starts");
        let mut heard = [0; 16];
        let length = stubborn.read(&mut heard).await.expect("tells its number");
        let pid = String::from_utf8_lossy(&heard[..length]).trim().parse().expect("a number");
        let process = super::super::ProcessId::of(pid).expect("runs");
        tokio::time::pause();
        drop(stubborn);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(GRACE).await;
        tokio::time::resume();
        assert!(process.ends_within(Duration::from_secs(5)).await, "it still runs");
    }
}
