//! Runs a command to its end and tells what it took, by the operating system's own accounting.

use std::io::{Read as _, Seek as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use super::{CommandError, HostCommand, LAST_LINES};

/// What a process took, with all processes that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in the program itself.
    pub user: Duration,
    /// Processor time in the system on its behalf.
    pub system: Duration,
    /// From start to end.
    pub wall: Duration,
    /// The largest single process, in bytes.
    pub peak: u64,
}

impl HostCommand {
    /// Runs to its end without showing anything, and says what it took. Blocks.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a status other than 0; then with its last lines on stderr.
    pub fn measure(&self) -> Result<Usage, CommandError> {
        let cannot = |source| self.cannot_start(source);
        let mut said = tempfile::tempfile().map_err(cannot)?;
        let mut command = self.to_std();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().map_err(cannot)?);
        let start = Instant::now();
        let ended = command.spawn().and_then(|child| child.wait4()).map_err(cannot)?;
        let wall = start.elapsed();
        if !ended.status.success() {
            let mut bytes = Vec::new();
            // Without its words the status still tells.
            let _ = said.rewind().and_then(|()| said.read_to_end(&mut bytes));
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let last = lines.len().saturating_sub(LAST_LINES);
            self.judge(ended.status, lines[last..].to_vec())?;
        }
        let used = ended.rusage;
        Ok(Usage { user: used.utime, system: used.stime, wall, peak: used.maxrss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_a_command_took() {
        let usage =
            HostCommand::script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").measure().expect("runs");
        assert!(usage.user + usage.system > Duration::ZERO, "{usage:?}");
        assert!(usage.wall > Duration::ZERO && usage.peak > 100_000, "{usage:?}");
    }

    #[test]
    fn a_failure_shows_its_last_words() {
        let error = HostCommand::script("echo why >&2; exit 7").measure().expect_err("fails");
        assert_eq!(error.to_string(), "`sh -c …` exited with status 7\n    why");
    }
}
