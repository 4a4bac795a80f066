//! Runs debootstrap: a system in a folder, from the mirror that this machine uses. Whoever calls it says what becomes of it.

use std::path::{Path, PathBuf};

use super::apt_sources::{self, Source, parse_deb822, parse_list};
use crate::engine::provision::{DEBOOTSTRAP, ProvisionError, missing_packages};
use crate::engine::{OnProgress, Progress};
use crate::host::inside::Folder;
use crate::host::{self, CommandError, HostCommand, Privilege, Stream};
use crate::model::{LogStream, Platform, Unit};

/// What a system is made of.
#[derive(Clone, Debug)]
pub struct Debootstrap {
    /// `bookworm`
    pub suite: String,
    /// `http://deb.debian.org/debian`
    pub mirror: String,
    /// `minbase`
    pub variant: Option<String>,
    /// Beyond those of the variant.
    pub packages: Vec<String>,
    /// Debian's name of the architecture.
    arch: &'static str,
}

impl Debootstrap {
    /// From the mirror that was asked for, else the one that this machine uses; none for a platform that is not this
    /// machine's.
    pub fn new(
        suite: &str,
        mirror: Option<&str>,
        variant: Option<&str>,
        packages: &[String],
        platform: &Platform,
    ) -> Option<Self> {
        let arch = debian_arch(platform).filter(|_| platform.arch == host_arch())?;
        let mirror = apt_sources::mirror(mirror, &host_sources(), suite, arch);
        let mut packages = packages.to_vec();
        if mirror.starts_with("https://") && !packages.iter().any(|package| package == "ca-certificates") {
            packages.push("ca-certificates".to_owned());
        }
        Some(Self { suite: suite.to_owned(), mirror, variant: variant.map(str::to_owned), packages, arch })
    }

    /// `debootstrap bookworm http://deb.debian.org/debian variant=minbase include=curl`
    pub fn told(&self) -> String {
        let mut told = format!("debootstrap {} {}", self.suite, self.mirror);
        if let Some(variant) = &self.variant {
            told.push_str(&format!(" variant={variant}"));
        }
        if !self.packages.is_empty() {
            told.push_str(&format!(" include={}", self.packages.join(",")));
        }
        told
    }

    /// Makes it in a folder. Dropping the future stops it.
    ///
    /// # Errors
    /// When debootstrap fails; its last lines are in the error.
    pub async fn run(&self, work: &Work, progress: OnProgress<'_>) -> Result<(), CommandError> {
        // dpkg reads the tree's own settings from its first run on: no documentation, and no fsync for each file
        // of a folder that is thrown away if anything goes wrong. Builds on the image are the same case.
        HostCommand::script(PREPARE).path(&work.tree()).as_root(work.privilege).output().await?;
        let mut command =
            HostCommand::new("debootstrap").arg(format!("--arch={}", self.arch)).env("WGETRC", work.wgetrc());
        if let Some(variant) = &self.variant {
            command = command.arg(format!("--variant={variant}"));
        }
        if !self.packages.is_empty() {
            command = command.arg(format!("--include={}", self.packages.join(",")));
        }
        if let Some(proxy) = apt_proxy().filter(|_| self.mirror.starts_with("http://")) {
            command = command.env("http_proxy", proxy);
        }
        let mut done = 0;
        command
            .arg(&self.suite)
            .path(&work.tree())
            .arg(&self.mirror)
            .as_root(work.privilege)
            .lines(&mut |stream, line| {
                let stream = if stream == Stream::Stdout { LogStream::Stdout } else { LogStream::Stderr };
                progress(Progress::Log { stream, line: line.to_owned() });
                if let Some(detail) = line.strip_prefix("I: ") {
                    done += 1;
                    progress(Progress::Moved {
                        done,
                        // How many packages there are is known only when they are all there.
                        total: 0,
                        unit: Unit::Steps,
                        detail: Some(detail.to_owned()),
                    });
                }
            })
            .await
    }
}

/// The right to run debootstrap for `what`, on a machine that has it.
///
/// # Errors
/// Not Linux, no debootstrap, or not root.
pub fn privilege(what: &str) -> Result<Privilege, ProvisionError> {
    if !cfg!(target_os = "linux") {
        return Err(ProvisionError::NotLinux { what: "debootstrap" });
    }
    let missing = missing_packages(&[DEBOOTSTRAP]);
    if !missing.is_empty() {
        return Err(ProvisionError::Missing { packages: missing });
    }
    host::privilege().ok_or_else(|| ProvisionError::NeedsRoot {
        what: format!("making {what} by debootstrap (it makes a root folder)"),
        commands: vec!["sudo -v".to_owned()],
    })
}

/// Debian's name of an architecture (dpkg's `cputable`), as far as container images have it.
fn debian_arch(platform: &Platform) -> Option<&'static str> {
    if platform.os != "linux" {
        return None;
    }
    Some(match (platform.arch.as_str(), platform.variant.as_deref()) {
        ("amd64", _) => "amd64",
        ("arm64", _) => "arm64",
        ("386", _) => "i386",
        ("arm", Some("v5" | "v6")) => "armel",
        ("arm", _) => "armhf",
        ("ppc64le", _) => "ppc64el",
        ("s390x", _) => "s390x",
        ("riscv64", _) => "riscv64",
        _ => return None,
    })
}

/// What this host runs, in the words of platforms.
pub(super) fn host_arch() -> String {
    Platform::new("linux", std::env::consts::ARCH, None).arch
}

/// What this machine's own apt reads.
pub(super) fn host_sources() -> Vec<Source> {
    let folder = Path::new("/etc/apt");
    let mut files = vec![folder.join("sources.list")];
    let more = std::fs::read_dir(folder.join("sources.list.d")).into_iter().flatten().flatten();
    let mut more: Vec<PathBuf> = more.map(|entry| entry.path()).collect();
    more.sort();
    files.extend(more);
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_list(&text),
            Some("sources") => parse_deb822(&text),
            _ => Vec::new(),
        }
    };
    files.iter().flat_map(read).collect()
}

/// The proxy that apt is told to use; debootstrap does not ask apt.
fn apt_proxy() -> Option<String> {
    let printed = host::query("apt-config", &["shell", "PROXY", "Acquire::http::Proxy"])?;
    let proxy = printed.trim().strip_prefix("PROXY='")?.strip_suffix('\'')?;
    proxy.starts_with("http").then(|| proxy.to_owned())
}

/// A temporary folder whose contents are root's; gone when dropped, mounts and processes in it included.
#[derive(Debug)]
pub struct Work {
    folder: Option<tempfile::TempDir>,
    privilege: Privilege,
}

impl Work {
    /// A new one in `folder`, whose name begins with `prefix`.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin(folder: &Folder, prefix: &str, privilege: Privilege) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(folder.path())?;
        // debootstrap fetches with wget, which waits 15 minutes for a mirror that has fallen silent.
        Folder::open(folder.path())?.write("wgetrc", b"timeout = 15\ntries = 4\n", None)?;
        Ok(Self { folder: Some(folder), privilege })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), tempfile::TempDir::path)
    }

    /// Where the system is made.
    pub fn tree(&self) -> PathBuf {
        self.path().join("root")
    }

    fn wgetrc(&self) -> String {
        self.path().join("wgetrc").to_string_lossy().into_owned()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        remove(folder.path(), self.privilege);
        // What is left of the folder is ours.
        drop(folder);
    }
}

/// Removes a folder in which debootstrap may still run. Blocks, since a destructor cannot wait otherwise; it takes a moment.
pub fn remove(folder: &Path, privilege: Privilege) {
    let path = folder.to_string_lossy().into_owned();
    let script = ["-c", REMOVE, "sh", &path];
    match privilege {
        Privilege::Root => host::query("sh", &script),
        Privilege::Sudo => host::query("sudo", &[&["-n", "sh"], &script[..]].concat()),
    };
}

/// `$1` the tree. The exclusions are those of Debian's own slim images (debuerreotype's
/// `slimify-excludes` and `slimify-includes`).
const PREPARE: &str = r#"
set -eu
umask 022
mkdir -p "$1/etc/dpkg/dpkg.cfg.d"
chmod 755 "$1"
cat >"$1/etc/dpkg/dpkg.cfg.d/slim" <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/overrides/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
path-exclude /usr/share/man/*
END
echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io"
"#;

/// `$1` the folder. Processes that debootstrap started live in the tree (chroot) or name it; one that is killed
/// may have made a file in the meantime, so the folder is removed until it is gone.
const REMOVE: &str = r#"
for again in 1 2 3 4 5; do
    for process in /proc/[0-9]*; do
        case $(readlink "$process/root") in "$1"/*) kill -9 "${process#/proc/}" ;; esac
        if tr '\0' '\n' <"$process/cmdline" | grep -qF "$1/root"; then kill -9 "${process#/proc/}"; fi
    done
    sed -n "s|^[^ ]* [^ ]* [^ ]* [^ ]* \($1/[^ ]*\) .*|\1|p" /proc/self/mountinfo | sort -r |
        while read -r point; do umount "$point" || umount -l "$point"; done
    rm -rf --one-file-system -- "$1" && break
    sleep 0.2
done 2>/dev/null
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debians_names_of_architectures() {
        for (platform, expected) in [
            ("linux/amd64", Some("amd64")),
            ("linux/arm64", Some("arm64")),
            ("linux/386", Some("i386")),
            ("linux/arm/v7", Some("armhf")),
            ("linux/arm/v6", Some("armel")),
            ("linux/ppc64le", Some("ppc64el")),
            ("linux/wasm", None),
            ("windows/amd64", None),
        ] {
            assert_eq!(debian_arch(&platform.parse().expect(platform)), expected, "{platform}");
        }
    }

    #[test]
    fn says_what_it_is_made_of() {
        let system = Debootstrap {
            suite: "bookworm".to_owned(),
            mirror: "http://m/debian".to_owned(),
            variant: Some("minbase".to_owned()),
            packages: vec!["curl".to_owned()],
            arch: "amd64",
        };
        assert_eq!(system.told(), "debootstrap bookworm http://m/debian variant=minbase include=curl");
    }
}
