//! `report`: where the page of a run is. It makes pages and changes nothing else.

use std::path::Path;

use super::args::Report;
use super::session::Typed;
use crate::config::find_root;
use crate::env::Env;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::os::{self, HostCommand};
use crate::report::html::read as pages;
use crate::report::record::{LATEST, RUNS_FOLDER};
use crate::suggest::did_you_mean;

/// `report`: the page of a run, made now if it is not there yet.
pub(super) async fn run(typed: &Typed<'_>, args: &Report) -> Result<ExitCode, Error> {
    let here = std::env::current_dir().map_err(|error| Error::of(ErrorKind::File, &error))?;
    let root = find_root(typed.global.root.as_deref(), &here, &Env::from_process())?;
    let runs = root.join(RUNS_FOLDER);
    let id = run_on_record(&runs, &args.run)?;
    let make = {
        let id = id.clone();
        move || pages::made(&runs, &id).map_or_else(|| pages::write(&runs, &id), Ok)
    };
    let made = tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(error.into()));
    let page = made.map_err(|error| {
        Error::new(ErrorKind::File, format!("cannot make the page of run {id}"))
            .because(error.to_string())
            .hint("see whether its folder below target/xtask/runs can be read and written")
    })?;
    super::print(&page.to_string_lossy());
    if args.open {
        open(&page).await;
    }
    Ok(ExitCode::Good)
}

fn run_on_record(runs: &Path, asked: &str) -> Result<String, Error> {
    const SHOWN: usize = 10;
    let ids = pages::ids(runs);
    let found =
        if asked == LATEST { pages::latest(runs) } else { ids.iter().find(|id| *id == asked).cloned() };
    found.ok_or_else(|| {
        if ids.is_empty() {
            return Error::new(ErrorKind::UnknownName, format!("no run on record in {RUNS_FOLDER}"))
                .hint("`cargo xtask build-all` makes one");
        }
        let near = did_you_mean(asked, ids.iter().map(String::as_str));
        let more =
            if ids.len() > SHOWN { format!(", and {} more", ids.len() - SHOWN) } else { String::new() };
        let newest = ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        Error::new(ErrorKind::UnknownName, format!("no run `{asked}` on record{near}"))
            .because(format!("on record, newest first: {newest}{more}"))
            .hint("`cargo xtask history` shows them with what they did")
    })
}

/// Leaves it to the desktop; where there is none, the path has been said.
async fn open(page: &Path) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let nowhere = Path::new("/dev/null");
    if os::find_program(program).is_none() {
        super::say(&format!("{program} is not here, so open that file in a browser yourself"));
    } else if let Err(error) = HostCommand::new(program).path(page).detach(nowhere).await {
        super::say(&format!("it cannot be opened from here ({error}); open that file in a browser yourself"));
    }
}
