//! What `cargo xtask` runs. `cargo run --package xtask-images` looks at each of some 200 packages before it starts anything,
//! which takes longer than a run that has nothing to do. So cargo runs this package, which has no dependencies, and it
//! starts the built xtask at once when nothing that it was built from has changed since cargo last looked. Otherwise
//! cargo looks, and builds what it finds.
//!
//! In: cargo's own list of sources (`xtask-images.d`, beside the binary), the manifests, a stamp of its own. Out: the running
//! xtask. It decides nothing else, and whatever it does not understand is cargo's to decide.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::UNIX_EPOCH;

/// What decides a build beside the sources, relative to the workspace. Not all of them need be there.
const MANIFESTS: [&str; 7] = [
    "Cargo.toml",
    "Cargo.lock",
    "xtask/Cargo.toml",
    "dockerfile-model/Cargo.toml",
    ".cargo/config.toml",
    "rust-toolchain.toml",
    "rust-toolchain",
];
/// The package that it starts, and its program.
const PROGRAM: &str = "xtask-images";
/// cargo's code for a build that failed.
const BUILD_FAILED: u8 = 101;

fn main() -> ExitCode {
    match launch() {
        Ok(code) => code,
        Err(why) => {
            tell(&format!("error: cannot start xtask: {why}"));
            ExitCode::from(BUILD_FAILED)
        }
    }
}

fn launch() -> Result<ExitCode, String> {
    let place = Place::find()?;
    if !place.is_fresh() {
        // Noted before cargo looks: what changes while it does is newer.
        let since = place.touch_stamp();
        if !build(&place)? {
            return Ok(ExitCode::from(BUILD_FAILED));
        }
        place.write_stamp(since);
    }
    start(&place)
}

/// Where things lie.
struct Place {
    workspace: PathBuf,
    /// This program.
    launcher: PathBuf,
    /// The program to start: beside this one, since cargo builds both in one profile.
    program: PathBuf,
}

impl Place {
    fn find() -> Result<Self, String> {
        let launcher = std::env::current_exe().map_err(|error| error.to_string())?;
        let program = launcher.with_file_name(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX));
        let package = variable("CARGO_MANIFEST_DIR").map(PathBuf::from).filter(|dir| dir.ends_with("launch"));
        let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let workspace = package.ancestors().nth(2).ok_or("the workspace is gone")?.to_owned();
        Ok(Self { workspace, launcher, program })
    }

    fn stamp(&self) -> PathBuf {
        self.program.with_file_name("xtask.fresh")
    }

    /// Whether cargo would find nothing to do.
    fn is_fresh(&self) -> bool {
        let look = || {
            let stamp = fs::read_to_string(self.stamp()).ok()?;
            let (since, program) = parse_stamp(&stamp)?;
            let dep_info = fs::read_to_string(self.program.with_extension("d")).ok()?;
            let sources = parse_dep_info(&dep_info)?;
            let is_older = |path: &Path| nanos(path).is_some_and(|changed| changed < since);
            let manifests =
                MANIFESTS.iter().map(|name| self.workspace.join(name)).filter(|path| path.exists());
            let is_fresh = identity(&self.program)? == program
                && is_older(&self.launcher)
                && sources.iter().all(|path| is_older(&self.workspace.join(path)))
                && manifests.into_iter().all(|path| is_older(&path));
            Some(is_fresh)
        };
        look().unwrap_or(false)
    }

    /// Empties the stamp, and tells what time it is for the file system, whose clock need not be ours.
    fn touch_stamp(&self) -> Option<u128> {
        File::create(self.stamp()).ok()?;
        nanos(&self.stamp())
    }

    /// Without a stamp the next run asks cargo again, and that is all.
    fn write_stamp(&self, since: Option<u128>) {
        if let (Some(since), Some(program)) = (since, identity(&self.program)) {
            let _ = fs::write(self.stamp(), format!("{since} {program}\n"));
        }
    }
}

/// When a file was last changed, in nanoseconds since 1970.
fn nanos(path: &Path) -> Option<u128> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()))
}

/// Tells one build of the program from another.
fn identity(program: &Path) -> Option<String> {
    Some(format!("{} {}", nanos(program)?, fs::metadata(program).ok()?.len()))
}

/// When cargo was asked, and about which program. A stamp that is cut off has no newline.
fn parse_stamp(text: &str) -> Option<(u128, &str)> {
    let (since, program) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((since.parse().ok()?, program))
}

/// The sources in a Makefile rule as cargo writes it: `target: source source`, a space in a path as `\ `.
fn parse_dep_info(text: &str) -> Option<Vec<PathBuf>> {
    let (_, rest) = text.lines().next()?.split_once(": ")?;
    let mut sources = vec![String::new()];
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, sources.last_mut()) {
            (' ', _) => sources.push(String::new()),
            ('\\', Some(source)) if letters.peek() == Some(&' ') => source.extend(letters.next()),
            (letter, Some(source)) => source.push(letter),
            (_, None) => {}
        }
    }
    sources.retain(|source| !source.is_empty());
    (!sources.is_empty()).then(|| sources.into_iter().map(PathBuf::from).collect())
}

/// Lets cargo build what is not fresh, in the profile that this program was built in. False when it could not.
fn build(place: &Place) -> Result<bool, String> {
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(&cargo);
    command.args(["build", "--package", PROGRAM, "--bin", PROGRAM]).current_dir(&place.workspace);
    let profile = place.program.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(profile) = profile.filter(|name| *name != "debug") {
        command.args(["--profile", profile]);
    }
    if place.program.exists() {
        command.arg("--quiet");
    } else if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
        tell("building xtask; the first time takes a minute or two");
    }
    let status = command.status().map_err(|error| format!("{}: {error}", cargo.display()))?;
    Ok(status.success())
}

fn start(place: &Place) -> Result<ExitCode, String> {
    use std::os::unix::process::CommandExt as _;
    let error = program(place).exec();
    Err(format!("{}: {error}", place.program.display()))
}

fn program(place: &Place) -> Command {
    let mut command = command(place.program.as_os_str());
    // As `cargo run --package xtask-images` would: from here the program knows its tree.
    command.args(std::env::args_os().skip(1));
    if variable("CARGO_MANIFEST_DIR").is_some() {
        command.env("CARGO_MANIFEST_DIR", place.workspace.join("xtask"));
    }
    // What its hints call it.
    command.env("XTASK_CALLED_AS", "cargo xtask");
    command
}

/// A command without the variables that tell of this package: build scripts of other packages watch them, and would
/// run again each time that cargo is called from here and not by hand.
#[expect(
    clippy::disallowed_methods,
    reason = "this program is a rim of its own: it has no os.rs and no env.rs"
)]
fn command(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is a rim of its own: it has no os.rs and no env.rs"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn tell(message: &str) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{message}");
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[track_caller]
    fn check_dep_info(text: &str, expect: Option<&[&str]>) {
        let expect = expect.map(|paths| paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(parse_dep_info(text), expect, "{text:?}");
    }

    #[test]
    fn reads_cargos_list_of_sources() {
        check_dep_info("/t/xtask: /x/a.rs /x/b.rs\n", Some(&["/x/a.rs", "/x/b.rs"]));
        check_dep_info("/t/xtask: /my\\ tree/a.rs  /x/b.rs", Some(&["/my tree/a.rs", "/x/b.rs"]));
        check_dep_info("C:\\t\\xtask.exe: C:\\x\\a.rs\n", Some(&["C:\\x\\a.rs"]));
        check_dep_info("/t/xtask: \n", None);
        check_dep_info("/t/xtask:\n", None);
        check_dep_info("", None);
    }

    #[test]
    fn a_stamp_that_is_cut_off_is_none() {
        assert_eq!(parse_stamp("12 34 56\n"), Some((12, "34 56")));
        for broken in ["", "12", "12 34 5", "x 34 56\n", "\n"] {
            assert_eq!(parse_stamp(broken), None, "{broken:?}");
        }
    }

    /// A workspace with a program that is fresh; `change` makes it otherwise.
    #[track_caller]
    fn check_fresh(name: &str, expect: bool, change: impl Fn(&Path, SystemTime)) {
        let workspace = std::env::temp_dir().join(format!("xtask-launch-{}-{name}", std::process::id()));
        let place = Place {
            launcher: workspace.join("target/debug/xtask-launch"),
            program: workspace.join("target/debug/xtask"),
            workspace: workspace.clone(),
        };
        let source = workspace.join("xtask/src/main.rs");
        for path in [&place.launcher, &place.program, &source, &workspace.join("Cargo.lock")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(place.program.with_extension("d"), format!("xtask: {}\n", source.display())).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        place.write_stamp(Some(later.duration_since(UNIX_EPOCH).unwrap().as_nanos()));
        change(&workspace, later);
        let fresh = place.is_fresh();
        fs::remove_dir_all(&workspace).unwrap();
        assert_eq!(fresh, expect, "{name}");
    }

    #[test]
    fn is_fresh_only_when_nothing_has_changed() {
        let touch =
            |path: PathBuf, at| File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
        check_fresh("untouched", true, |_, _| {});
        check_fresh("a source", false, |dir, later| touch(dir.join("xtask/src/main.rs"), later));
        check_fresh("a source is gone", false, |dir, _| {
            fs::remove_file(dir.join("xtask/src/main.rs")).unwrap()
        });
        check_fresh("the lock file", false, |dir, later| touch(dir.join("Cargo.lock"), later));
        check_fresh("this launcher", false, |dir, later| touch(dir.join("target/debug/xtask-launch"), later));
        check_fresh("another program", false, |dir, _| {
            fs::write(dir.join("target/debug/xtask"), "new").unwrap()
        });
        check_fresh("no program", false, |dir, _| fs::remove_file(dir.join("target/debug/xtask")).unwrap());
        check_fresh("no list", false, |dir, _| fs::remove_file(dir.join("target/debug/xtask.d")).unwrap());
        check_fresh("no stamp", false, |dir, _| {
            fs::remove_file(dir.join("target/debug/xtask.fresh")).unwrap()
        });
        check_fresh("a new manifest", false, |dir, later| {
            fs::write(dir.join("rust-toolchain.toml"), "").unwrap();
            touch(dir.join("rust-toolchain.toml"), later);
        });
    }
}
