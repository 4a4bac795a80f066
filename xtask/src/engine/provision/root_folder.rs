//! An engine out of a system in a folder: another version than this machine's, with programs and libraries of its own.
//!
//! It has a mount namespace of its own, in which an overlay of that folder is the root (dockerd wants one that is a mount
//! point). So the folder stays as it was, several engines may come out of it, and no mount is left when they end.

use std::path::Path;

use super::Home;

/// What enters `folder` with the command that follows. The engine's home is seen in there under the same paths; of what
/// else runs on this machine, a system-wide containerd for one, nothing is.
pub(super) fn enter(folder: &Path, home: &Home) -> Vec<String> {
    let paths = [folder, home.folder(), &home.runtime()].map(|path| path.to_string_lossy().into_owned());
    let words =
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"].map(str::to_owned);
    words.into_iter().chain(paths).collect()
}

/// `$1` the folder, `$2` the engine's folder, `$3` its runtime folder; the rest is what runs inside. The paths of the overlay
/// are relative, since its options take no colon or comma.
const ENTER: &str = r#"
set -eu
folder=$1 home=$2 runtime=$3
shift 3
mkdir -p "$runtime/root"
mount -t tmpfs -o mode=755 root "$runtime/root"
cd "$runtime/root"
mkdir lower upper work new
mount --bind "$folder" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work root new
cd new
for path in /proc /sys /dev "$home"; do
    mkdir -p ".$path"
    mount --rbind "$path" ".$path"
done
mount -t tmpfs -o mode=755 run run
mkdir -p ".$runtime" before
mount --bind "$runtime" ".$runtime"
cp -L /etc/resolv.conf etc/resolv.conf
pivot_root . before
umount -l before
exec "$@"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{self, HostCommand, Privilege};

    #[tokio::test]
    async fn what_runs_inside_sees_the_folder_and_writes_nothing_into_it() {
        if host::privilege() != Some(Privilege::Root) {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(&folder.path().join("a home"));
        let system = folder.path().join("a:system,small");
        let Some(busybox) = host::find_program("busybox") else { return };
        for below in ["bin", "etc", "run"] {
            std::fs::create_dir_all(system.join(below)).expect("a folder");
        }
        for program in ["sh", "umount"] {
            std::fs::copy(&busybox, system.join("bin").join(program)).expect("a program");
        }
        for path in [home.folder(), &home.runtime()] {
            std::fs::create_dir_all(path).expect("a folder");
        }
        let script =
            "echo $0 >/written; echo seen >\"$1/told\"; [ ! -e /usr ] && [ ! -e /before/bin ] && echo /*";
        let words =
            enter(&system, &home).into_iter().chain(["/bin/sh", "-c", script, "sh"].map(str::to_owned));
        let mut words: Vec<String> = words.collect();
        words.push(home.folder().to_string_lossy().into_owned());
        let seen = HostCommand::new(words.remove(0)).args(words).output().await;
        std::fs::remove_dir_all(home.runtime()).expect("no mount holds it");
        let seen = seen.expect("enters");
        assert!(seen.contains("/etc") && seen.contains("/written"), "{seen}");
        assert_eq!(std::fs::read_to_string(home.folder().join("told")).expect("told"), "seen\n");
        assert!(!system.join("written").exists(), "it was written into the folder");
    }
}
