//! The system that an engine comes out of: made by debootstrap, once, and kept in the user's cache.
//!
//! It appears whole or not at all: it is made beside and renamed when it is done. What a killed run left of one is removed by
//! the next, and of two runs at the same time the second waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::provision::Announce;
use crate::engine::recipe::debootstrap::{self, Debootstrap, Work};
use crate::host::inside::Folder;
use crate::host::lock::{Holder, Lock};
use crate::host::{HostCommand, Privilege};
use crate::model::Platform;

/// What an engine needs beyond the smallest system.
const PACKAGES: [&str; 5] = ["docker.io", "containerd", "runc", "iptables", "ca-certificates"];
/// Says what the system was made of; the last file that is written.
const MARKER: &str = "etc/xtask-engine";
/// A mirror may fail for a moment.
const PAUSE: Duration = Duration::from_secs(10);

/// The system of `suite` in `cache`, under the engine's name; made if it is not there, or was made of something else.
///
/// # Errors
/// Why it cannot be had, in words.
pub async fn ready(cache: &Path, name: &str, suite: &str, announce: Announce<'_>) -> Result<PathBuf, String> {
    let packages = PACKAGES.map(str::to_owned);
    let system = Debootstrap::new(suite, None, Some("minbase"), &packages, &Platform::local())
        .ok_or_else(|| format!("Debian has no packages for {}", Platform::local()))?;
    let engines =
        Folder::making(cache).map_err(|error| format!("cannot make {}: {error}", cache.display()))?;
    let waits =
        |_: Option<&Holder>| announce(format!("engine {name} waits for another run that makes its folder"));
    let lock_file = PathBuf::from(format!("{name}.lock"));
    let lock = Lock::acquire_file(&engines, &lock_file, "ci", &waits);
    let _lock = lock.await.map_err(|error| error.to_string())?;
    let place = engines.path().join(name);
    if std::fs::read_to_string(place.join(MARKER)).is_ok_and(|made_of| made_of == system.told()) {
        return Ok(place);
    }
    let privilege = debootstrap::privilege(&format!("engine {name}")).map_err(|error| error.to_string())?;
    let unfinished = format!("{name}-");
    for left in std::fs::read_dir(engines.path()).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with(&unfinished) {
            debootstrap::remove(&left.path(), privilege);
        }
    }
    announce(format!("engine {name} is made in {} ({})", place.display(), system.told()));
    let make = || make(&engines, &unfinished, &place, &system, privilege);
    if let Err(why) = make().await {
        announce(format!("engine {name} is tried once more in {} s ({why})", PAUSE.as_secs()));
        tokio::time::sleep(PAUSE).await;
        make().await?;
    }
    Ok(place)
}

async fn make(
    engines: &Folder,
    unfinished: &str,
    place: &Path,
    system: &Debootstrap,
    privilege: Privilege,
) -> Result<(), String> {
    let work = Work::begin(engines, unfinished, privilege).map_err(|error| error.to_string())?;
    system.run(&work, &|_| {}).await.map_err(|error| error.to_string())?;
    let finish = HostCommand::script(FINISH).path(&work.tree()).path(place).args([MARKER, &system.told()]);
    finish.as_root(privilege).output().await.map(drop).map_err(|error| error.to_string())
}

/// `$1` the system, `$2` where it is to be, `$3` the marker, `$4` its text. Nothing was synced while packages were unpacked,
/// and a marker must not outlive what it vouches for.
const FINISH: &str = r#"
set -eu
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/debootstrap
sync -f "$1"
printf %s "$4" >"$1/$3"
rm -rf --one-file-system -- "$2"
mv -T -- "$1" "$2"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_system_that_is_there_is_not_made_again() {
        let cache = tempfile::tempdir().expect("a folder");
        let packages = PACKAGES.map(str::to_owned);
        let system = Debootstrap::new("trixie", None, Some("minbase"), &packages, &Platform::local());
        let Some(system) = system else { return };
        let marker = cache.path().join("26.1").join(MARKER);
        std::fs::create_dir_all(marker.parent().expect("a parent")).expect("a folder");
        std::fs::write(&marker, system.told()).expect("a marker");
        let place = ready(cache.path(), "26.1", "trixie", &|said| panic!("{said}")).await;
        assert_eq!(place, Ok(cache.path().canonicalize().expect("is there").join("26.1")));
    }

    #[test]
    fn a_system_is_there_when_its_marker_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let [made, place] = ["made", "place"].map(|name| folder.path().join(name));
        for path in [made.join("etc"), made.join("var/cache/apt/archives"), place.join("older")] {
            std::fs::create_dir_all(path).expect("a folder");
        }
        std::fs::write(made.join("var/cache/apt/archives/a.deb"), "x").expect("a file");
        let paths = [&made, &place].map(|path| path.display().to_string());
        crate::host::query("sh", &["-c", FINISH, "sh", &paths[0], &paths[1], MARKER, "debootstrap x"])
            .expect("finishes");
        assert_eq!(std::fs::read_to_string(place.join(MARKER)).expect("a marker"), "debootstrap x");
        assert!(!place.join("older").exists() && !place.join("var/cache/apt/archives/a.deb").exists());
        assert!(!made.exists());
    }
}
