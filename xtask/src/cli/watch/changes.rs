//! Waits for changes that count, and gathers what happens at the same time.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Teller;
use crate::cli::error::{Error, ErrorKind};
use crate::host::watch::{Noticed, Noticing, WatchError, Watcher};
use crate::read::interest::Interest;

/// It is over when nothing more happens for so long: editors that write by rename take a few milliseconds, `git checkout`
/// writes without a pause.
const QUIET: Duration = Duration::from_millis(120);
/// Something that never stops changing does not keep all else from being built.
const LONGEST: Duration = Duration::from_secs(10);
/// How often is looked where the system cannot tell.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Git holds it while it writes files.
const GIT_BUSY: &str = ".git/index.lock";
/// A lock that is older was left behind.
const STALE: Duration = Duration::from_secs(600);

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    paths: BTreeSet<String>,
    /// More happened than was told.
    is_more: bool,
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.is_more
    }
}

/// `src/api/main.py changed`, `src/api/main.py and 3 more changed`
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.paths.first(), self.paths.len()) {
            (Some(first), 1) if !self.is_more => write!(f, "{first} changed"),
            (Some(first), n) if !self.is_more => write!(f, "{first} and {} more changed", n - 1),
            (Some(first), _) => write!(f, "{first} and many more changed"),
            (None, _) => f.write_str("much changed"),
        }
    }
}

/// What is watched.
pub(super) struct Changes {
    watcher: Watcher,
    interest: Interest,
}

impl Changes {
    /// Begins, with nothing that counts yet.
    pub fn begin(noticing: Noticing, teller: &Teller) -> Result<Self, Error> {
        let watcher = match Watcher::start(noticing) {
            Err(WatchError::Limit) if noticing == Noticing::Told => look_instead(&WatchError::Limit, teller)?,
            started => started.map_err(cannot_watch)?,
        };
        Ok(Self { watcher, interest: Interest::default() })
    }

    /// The tree's root, once there is one.
    pub fn root(&self) -> &Path {
        self.interest.root()
    }

    /// From now on this counts. Returns how many folders are watched.
    pub fn follow(&mut self, interest: Interest, teller: &Teller) -> Result<usize, Error> {
        self.interest = interest;
        self.watch(teller)?;
        Ok(self.watcher.watched())
    }

    /// Watches what is there now; says how many folders are new.
    fn watch(&mut self, teller: &Teller) -> Result<usize, Error> {
        let folders = self.interest.folders();
        let limit = match self.watcher.watch(&folders) {
            Ok(new) => return Ok(new),
            Err(limit @ WatchError::Limit) => limit,
            Err(error) => return Err(cannot_watch(error)),
        };
        self.watcher = look_instead(&limit, teller)?;
        self.watcher.watch(&folders).map_err(cannot_watch)
    }

    /// Waits for the next change that counts, and until nothing more happens.
    pub async fn next(&mut self, teller: &Teller) -> Result<Changed, Error> {
        let mut changed = Changed::default();
        while changed.is_empty() {
            let noticed = self.watcher.next().await;
            self.take(noticed, &mut changed);
        }
        let mut until = Instant::now() + LONGEST;
        loop {
            while let Ok(noticed) = timeout(QUIET, self.watcher.next()).await {
                self.take(noticed, &mut changed);
                if Instant::now() > until {
                    break;
                }
            }
            // Folders that are new are watched before they are read, and what happens in them is waited for too.
            let new = self.watch(teller)?;
            if is_git_busy(self.interest.root()) {
                until = Instant::now() + LONGEST;
            } else if new == 0 || Instant::now() > until {
                return Ok(changed);
            }
        }
    }

    fn take(&mut self, noticed: Noticed, changed: &mut Changed) {
        match noticed {
            Noticed::Lost => changed.is_more = true,
            Noticed::Path(path) => changed.paths.extend(self.interest.counts(&path)),
        }
    }
}

fn is_git_busy(root: &Path) -> bool {
    let made = std::fs::metadata(root.join(GIT_BUSY)).and_then(|lock| lock.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < STALE))
}

fn look_instead(limit: &WatchError, teller: &Teller) -> Result<Watcher, Error> {
    let seconds = LOOK_EVERY.as_secs();
    teller.say(&format!(
        "{limit}, so they are looked at every {seconds} s; `sysctl fs.inotify.max_user_watches=524288` allows more"
    ));
    Watcher::start(Noticing::Looking(LOOK_EVERY)).map_err(cannot_watch)
}

fn cannot_watch(error: WatchError) -> Error {
    Error::of(ErrorKind::File, &error).hint("`--poll 2` looks for changes every two seconds instead")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_in_a_few_words() {
        let told = |paths: &[&str], is_more| {
            Changed { paths: paths.iter().map(ToString::to_string).collect(), is_more }.to_string()
        };
        assert_eq!(told(&["a"], false), "a changed");
        assert_eq!(told(&["b", "a"], false), "a and 1 more changed");
        assert_eq!(told(&["a"], true), "a and many more changed");
        assert_eq!(told(&[], true), "much changed");
    }
}
