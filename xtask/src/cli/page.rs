//! `report`: where the page of a run is. It makes pages and changes nothing else.

use std::path::{Path, PathBuf};

use super::args::Report;
use super::session::{Typed, standpoint};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::host::inside::Folder;
use crate::host::{self, HostCommand};
use crate::model::suggest::did_you_mean;
use crate::report::html::read as pages;
use crate::report::record::{EVENTS_FILE, LATEST, RUNS_FOLDER};
use crate::settings::env::Env;

/// `report`: the page of a run, made now if it is not there yet.
pub(super) async fn run(typed: &Typed<'_>, args: &Report) -> Result<ExitCode, Error> {
    let root = standpoint(typed)?.root;
    let (runs, id) = find(&root, &args.run)?;
    let make = {
        let (runs, id) = (runs.clone(), id.clone());
        let write = move |runs: &Path, id: &str| {
            let folder = runs.join(id);
            pages::write(&Folder::owner_of(&root, &folder)?.below(&folder)?, runs, id)
        };
        move || pages::made(&runs, &id).map_or_else(|| write(&runs, &id), Ok)
    };
    let made = tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(error.into()));
    let page = made.map_err(|error| {
        Error::new(ErrorKind::File, format!("cannot make the page of run {id}"))
            .because(error.to_string())
            .hint(format!("see whether {} can be read and written", runs.join(&id).display()))
    })?;
    super::print(&page.to_string_lossy());
    if args.open {
        open(&page, typed.env).await;
    }
    Ok(ExitCode::Good)
}

/// The name of the run before the latest.
const PREVIOUS: &str = "previous";

/// The folder of records and the run in it that was asked for.
fn find(root: &Path, asked: &str) -> Result<(PathBuf, String), Error> {
    let path = Path::new(asked);
    if path.components().count() > 1
        // Messages name paths from the root.
        && let Some(found) = in_folder(path).or_else(|| in_folder(&root.join(path)))
    {
        return Ok(found);
    }
    let runs = root.join(RUNS_FOLDER);
    let ids = pages::ids(&runs);
    let latest = pages::latest(&runs);
    let named = |place: usize| latest.as_ref().and_then(|latest| nth_before(&ids, latest, place));
    let alike: Vec<&str> = match asked {
        LATEST => named(0).into_iter().collect(),
        PREVIOUS => named(1).into_iter().collect(),
        _ if asked.is_empty() => Vec::new(),
        _ => ids.iter().map(String::as_str).filter(|id| id.starts_with(asked)).collect(),
    };
    match alike[..] {
        [id] => Ok((runs, id.to_owned())),
        // An id may begin with another one only in a folder that was made by hand.
        _ if alike.contains(&asked) => Ok((runs, asked.to_owned())),
        [] => Err(unknown(&ids, asked)),
        _ => Err(Error::new(ErrorKind::UnknownName, format!("{} runs begin with `{asked}`", alike.len()))
            .because(format!("newest first: {}", some_of(&alike)))
            .hint("`cargo xtask report RUN` with more letters of one of them")),
    }
}

/// The run whose folder, or whose file, a path names; it may be of any tree, or a copy.
fn in_folder(asked: &Path) -> Option<(PathBuf, String)> {
    let path = asked.canonicalize().ok()?;
    let folder = if path.is_dir() { &*path } else { path.parent()? };
    let name = folder.file_name()?.to_str()?;
    folder.join(EVENTS_FILE).is_file().then_some((folder.parent()?.to_owned(), name.to_owned()))
}

fn nth_before<'a>(ids: &'a [String], id: &str, place: usize) -> Option<&'a str> {
    let at = ids.iter().position(|known| known == id)?;
    ids.get(at + place).map(String::as_str)
}

fn unknown(ids: &[String], asked: &str) -> Error {
    if ids.is_empty() {
        return Error::new(ErrorKind::UnknownName, format!("no run on record in {RUNS_FOLDER}"))
            .hint("`cargo xtask build-all` makes one");
    }
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let near = did_you_mean(asked, names.iter().copied().chain([LATEST, PREVIOUS]));
    let what = if asked == PREVIOUS {
        "no run before the latest on record".to_owned()
    } else {
        format!("no run `{asked}` on record{near}")
    };
    Error::new(ErrorKind::UnknownName, what)
        .because(format!("on record, newest first: {}", some_of(&names)))
        .hint("`cargo xtask history` shows them with what they did")
}

fn some_of(ids: &[&str]) -> String {
    const SHOWN: usize = 10;
    let more = if ids.len() > SHOWN { format!(", and {} more", ids.len() - SHOWN) } else { String::new() };
    format!("{}{more}", ids.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "))
}

/// Leaves it to the desktop; where there is none, says what to do.
async fn open(page: &Path, env: &Env) {
    let has = |program: &str| host::find_program(program).is_some();
    let failed = match opener(env, cfg!(target_os = "macos"), &has) {
        Ok(opener) => start(opener, page).await.err(),
        Err(why) => Some(why.to_owned()),
    };
    if let Some(why) = failed {
        super::say(&format!(
            "it cannot be opened from here ({why}): open that file in a browser, or copy it to a machine that has one, \
             it is a single file"
        ));
    }
}

/// What opens a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    /// A program that takes its path and says by its status whether it could.
    Program(&'static str),
    /// Windows around this Linux: it knows the file by another path, and its status means nothing.
    Explorer,
}

/// What opens a page on this machine, or why nothing does.
fn opener(env: &Env, is_mac: bool, has: &dyn Fn(&str) -> bool) -> Result<Opener, &'static str> {
    let is_set = |name: &str| env.non_empty(name).is_some();
    let is_wsl = is_set("WSL_DISTRO_NAME") || is_set("WSL_INTEROP");
    if is_mac {
        Ok(Opener::Program("open"))
    } else if is_wsl && has("wslview") {
        Ok(Opener::Program("wslview"))
    } else if is_wsl && has("explorer.exe") && has("wslpath") {
        Ok(Opener::Explorer)
    } else if !has("xdg-open") {
        Err("xdg-open is not installed")
    } else if ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"].into_iter().any(is_set) {
        Ok(Opener::Program("xdg-open"))
    } else {
        Err("there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set")
    }
}

/// Starts it and lets go; what is over within two seconds says whether it could.
async fn start(opener: Opener, page: &Path) -> Result<(), String> {
    const START: &str = "\"$@\" >/dev/null 2>&1 </dev/null & p=$!; n=0; \
         while [ $n -lt 20 ] && kill -0 $p 2>/dev/null; do sleep 0.1; n=$((n+1)); done; \
         kill -0 $p 2>/dev/null || wait $p";
    let (program, path) = match opener {
        Opener::Program(program) => (program, page.to_string_lossy().into_owned()),
        Opener::Explorer => {
            let path = HostCommand::new("wslpath").arg("-w").path(page).output().await;
            ("explorer.exe", path.map_err(|error| error.to_string())?.trim().to_owned())
        }
    };
    let done = HostCommand::script(START).arg(program).arg(path).output().await;
    match (opener, done) {
        (Opener::Program(_), Err(_)) => Err(format!("{program} could not")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_page() {
        let check = |vars: &[&str], is_mac, programs: &[&str], expect| {
            let env: Env = vars.iter().map(|name| (*name, "x")).collect();
            assert_eq!(
                opener(&env, is_mac, &|name| programs.contains(&name)),
                expect,
                "{vars:?} {programs:?}"
            );
        };
        let no_screen = Err("there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set");
        check(&[], true, &[], Ok(Opener::Program("open")));
        check(&["DISPLAY"], false, &[], Err("xdg-open is not installed"));
        check(&["DISPLAY"], false, &["xdg-open"], Ok(Opener::Program("xdg-open")));
        check(&["WAYLAND_DISPLAY"], false, &["xdg-open"], Ok(Opener::Program("xdg-open")));
        check(&["BROWSER"], false, &["xdg-open"], Ok(Opener::Program("xdg-open")));
        check(&[], false, &["xdg-open"], no_screen);
        check(&["WSL_DISTRO_NAME"], false, &["wslview", "xdg-open"], Ok(Opener::Program("wslview")));
        check(&["WSL_INTEROP"], false, &["explorer.exe", "wslpath"], Ok(Opener::Explorer));
        check(&["WSL_INTEROP"], false, &["explorer.exe", "xdg-open"], no_screen);
    }
}
