//! Makes a base image that no registry gives: a root folder by debootstrap, slimmed, imported as one layer.
//!
//! In: a [`Recipe`] and an engine. Out: the image under its reference, labelled as made by a recipe. All work
//! is done in a temporary folder below `target/xtask/`, which is gone afterwards, whatever happened. It never
//! decides whether a recipe may be used; `--bootstrap` and the plan do.

pub mod apt_sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::provision::{DEBOOTSTRAP, ProvisionError, missing_packages};
use super::{Engine, OnProgress, Progress};
use crate::inside::Folder;
use crate::model::{ImageId, LogStream, Platform, Recipe, Reference, Unit, labels};
use crate::os::{self, HostCommand, Privilege, Stream};
use apt_sources::{image_sources, mirror, parse_deb822, parse_list};

/// Makes `reference` on `engine`; returns the image ID. Dropping the future removes what was made so far.
///
/// # Errors
/// When debootstrap is missing, without root, for a platform that is not this host's, when debootstrap fails
/// (its last lines are in the error), or when the engine refuses the import.
pub async fn make<E: Engine>(
    engine: &E,
    root: &Path,
    recipe: &Recipe,
    reference: &Reference,
    platform: &Platform,
    progress: OnProgress<'_>,
) -> Result<ImageId, ProvisionError> {
    let Recipe::Debootstrap { suite, mirror: wanted, variant, include } = recipe;
    let failed = |why: String| ProvisionError::Recipe { reference: reference.familiar(), why };
    if !cfg!(target_os = "linux") {
        return Err(ProvisionError::NotLinux { what: "debootstrap" });
    }
    let missing = missing_packages(&[DEBOOTSTRAP]);
    if !missing.is_empty() {
        return Err(ProvisionError::Missing { packages: missing });
    }
    let Some(privilege) = os::privilege() else {
        return Err(ProvisionError::NeedsRoot {
            what: format!("making {} by debootstrap (it makes a root folder)", reference.familiar()),
            commands: vec!["sudo -v".to_owned()],
        });
    };
    let arch = debian_arch(platform).filter(|_| platform.arch == host_arch()).ok_or_else(|| {
        failed(format!("debootstrap makes linux/{} here, and {platform} is asked for", host_arch()))
    })?;
    let host = host_sources();
    let mirror = mirror(wanted.as_deref(), &host, suite, arch);

    let work = Work::begin(root, privilege).map_err(|source| ProvisionError::File {
        doing: "make a folder in",
        path: root.join("target/xtask"),
        source,
    })?;
    let mut packages = include.clone();
    if mirror.starts_with("https://") && !packages.iter().any(|package| package == "ca-certificates") {
        packages.push("ca-certificates".to_owned());
    }
    run_debootstrap(&work, suite, &mirror, variant.as_deref(), &packages, arch, privilege, progress)
        .await
        .map_err(&failed)?;
    tell(progress, "slimming and packing");
    HostCommand::script(FINISH)
        .path(&work.tree())
        .path(&work.tar())
        .arg(image_sources(&mirror, &host, suite))
        .as_root(privilege)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    tell(progress, "importing");
    let labels = labels_of(suite, &mirror, variant.as_deref(), &packages);
    engine.import(&work.tar(), reference, platform, &labels).await.map_err(|error| failed(error.to_string()))
}

#[expect(clippy::too_many_arguments, reason = "each is one word of the command line")]
async fn run_debootstrap(
    work: &Work,
    suite: &str,
    mirror: &str,
    variant: Option<&str>,
    packages: &[String],
    arch: &str,
    privilege: Privilege,
    progress: OnProgress<'_>,
) -> Result<(), String> {
    // dpkg reads the tree's own settings from its first run on: no documentation, and no fsync for each file
    // of a folder that is thrown away if anything goes wrong. Builds on the image are the same case.
    HostCommand::script(PREPARE)
        .path(&work.tree())
        .as_root(privilege)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    let mut command =
        HostCommand::new("debootstrap").arg(format!("--arch={arch}")).env("WGETRC", work.wgetrc());
    if let Some(variant) = variant {
        command = command.arg(format!("--variant={variant}"));
    }
    if !packages.is_empty() {
        command = command.arg(format!("--include={}", packages.join(",")));
    }
    if let Some(proxy) = apt_proxy().filter(|_| mirror.starts_with("http://")) {
        command = command.env("http_proxy", proxy);
    }
    let mut done = 0;
    command
        .arg(suite)
        .path(&work.tree())
        .arg(mirror)
        .as_root(privilege)
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
        .map_err(|error| error.to_string())
}

fn tell(progress: OnProgress<'_>, line: &str) {
    progress(Progress::Log { stream: LogStream::Progress, line: line.to_owned() });
}

/// A sentence for people: `made debian:12-slim by debootstrap bookworm (no registry gave it)`.
pub fn announcement(recipe: &Recipe, reference: &Reference) -> String {
    let Recipe::Debootstrap { suite, .. } = recipe;
    format!("made {} by debootstrap {suite} (no registry gave it)", reference.familiar())
}

fn labels_of(
    suite: &str,
    mirror: &str,
    variant: Option<&str>,
    packages: &[String],
) -> BTreeMap<String, String> {
    let mut how = format!("debootstrap {suite} {mirror}");
    if let Some(variant) = variant {
        how.push_str(&format!(" variant={variant}"));
    }
    if !packages.is_empty() {
        how.push_str(&format!(" include={}", packages.join(",")));
    }
    BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), format!("{suite} base")),
        (
            "org.opencontainers.image.description".to_owned(),
            format!("Made on this machine by debootstrap {suite}, since no registry gave it"),
        ),
        (labels::RECIPE.to_owned(), how),
    ])
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
fn host_arch() -> String {
    Platform::new("linux", std::env::consts::ARCH, None).arch
}

fn host_sources() -> Vec<apt_sources::Source> {
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
    let printed = os::query("apt-config", &["shell", "PROXY", "Acquire::http::Proxy"])?;
    let proxy = printed.trim().strip_prefix("PROXY='")?.strip_suffix('\'')?;
    proxy.starts_with("http").then(|| proxy.to_owned())
}

/// A temporary folder whose contents are root's; gone when dropped, mounts and processes in it included.
struct Work {
    folder: Option<tempfile::TempDir>,
    privilege: Privilege,
}

impl Work {
    fn begin(root: &Path, privilege: Privilege) -> std::io::Result<Self> {
        let below = Folder::open(root)?.below("target/xtask")?;
        let folder = tempfile::Builder::new().prefix("recipe-").tempdir_in(below.path())?;
        let inside = Folder::open(folder.path())?;
        // Made by us, so that it stays ours to read when root has written into it.
        inside.append("root.tar")?;
        // debootstrap fetches with wget, which waits 15 minutes for a mirror that has fallen silent.
        inside.write("wgetrc", b"timeout = 15\ntries = 4\n", None)?;
        Ok(Self { folder: Some(folder), privilege })
    }

    fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), tempfile::TempDir::path)
    }

    fn tree(&self) -> PathBuf {
        self.path().join("root")
    }

    fn wgetrc(&self) -> String {
        self.path().join("wgetrc").to_string_lossy().into_owned()
    }

    fn tar(&self) -> PathBuf {
        self.path().join("root.tar")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        let path = folder.path().to_string_lossy().into_owned();
        let script = ["-c", REMOVE, "sh", &path];
        // Blocking, since a destructor cannot wait otherwise; it takes a moment.
        match self.privilege {
            Privilege::Root => os::query("sh", &script),
            Privilege::Sudo => os::query("sudo", &[&["-n", "sh"], &script[..]].concat()),
        };
        // What is left of the folder is ours.
        drop(folder);
    }
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

/// `$1` the tree, `$2` the tar to write, `$3` the sources. The first stage of debootstrap unpacks without
/// dpkg, so documentation is removed here once more; the folders of man pages stay, as in Debian's slim images, for packages
/// whose alternatives link into them (Debian bug 863199). Times are those of the suite's release: the same packages
/// give the same bytes. A mirror that falls silent costs a build 10 s, not apt's 30.
const FINISH: &str = r#"
set -eu
umask 022
cd "$1"
released=$(sed -n 's/^Date: //p' var/lib/apt/lists/*_InRelease var/lib/apt/lists/*_Release 2>/dev/null | head -n 1)
released=$(date -d "${released:-2020-01-01}" +%s)
rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb debootstrap
rm -rf var/cache/ldconfig/aux-cache var/cache/debconf/*-old var/lib/dpkg/*-old var/log/apt tmp/* run/*
find var/log -type f -exec truncate -s 0 {} +
find usr/share/doc -mindepth 1 ! -name copyright ! -type d -delete
find usr/share/doc -mindepth 1 -type d -empty -delete
find usr/share/man usr/share/info usr/share/lintian usr/share/linda -mindepth 1 -delete 2>/dev/null || true
find usr/share/locale -mindepth 1 ! -name locale.alias -delete 2>/dev/null || true
for section in 1 2 3 4 5 6 7 8; do mkdir -p "usr/share/man/man$section"; done
printf '%s' "$3" >etc/apt/sources.list
: >etc/machine-id
rm -f etc/hostname etc/resolv.conf
printf '#!/bin/sh\n# No service starts while packages are installed.\nexit 101\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
printf '%s\n' 'Acquire::Languages "none";' 'APT::AutoRemove::SuggestsImportant "false";' \
    'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
    'Acquire::http::Timeout "10";' 'Acquire::https::Timeout "10";' 'Acquire::Retries "4";' \
    'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' >etc/apt/apt.conf.d/container
tar --sort=name --numeric-owner --clamp-mtime --mtime="@$released" --exclude=./dev/* -cf "$2" .
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
    fn what_debians_slim_images_keep_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tree, tar) = (folder.path().join("root"), folder.path().join("root.tar"));
        for path in ["usr/share/man/man1/a.1.gz", "usr/share/man/de/man1/a.1.gz", "usr/share/doc/a/copyright"]
        {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
            std::fs::write(path, "x").expect("writable");
        }
        for path in ["var/log", "usr/share/locale", "usr/sbin", "etc/apt/apt.conf.d", "tmp", "run"] {
            std::fs::create_dir_all(tree.join(path)).expect("writable");
        }
        let (tree, tar) = (tree.display().to_string(), tar.display().to_string());
        os::query("sh", &["-c", FINISH, "sh", &tree, &tar, "deb http://m/debian s main"]).expect("packs");
        let listed = os::query("tar", &["-tf", &tar]).expect("a tar");
        let below = |folder: &str| {
            let prefix = format!("./usr/share/{folder}/");
            listed.lines().filter_map(|line| line.strip_prefix(&prefix)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(below("man"), " man1/ man2/ man3/ man4/ man5/ man6/ man7/ man8/");
        assert_eq!(below("doc"), " a/ a/copyright");
    }

    #[test]
    fn labels_say_where_it_came_from() {
        let labels = labels_of("bookworm", "http://m/debian", Some("minbase"), &["curl".to_owned()]);
        assert_eq!(
            labels[labels::RECIPE],
            "debootstrap bookworm http://m/debian variant=minbase include=curl"
        );
    }

    #[test]
    fn the_announcement_names_image_and_suite() {
        let recipe = Recipe::Debootstrap {
            suite: "bookworm".to_owned(),
            mirror: None,
            variant: None,
            include: Vec::new(),
        };
        assert_eq!(
            announcement(&recipe, &"debian:12-slim".parse().expect("a reference")),
            "made debian:12-slim by debootstrap bookworm (no registry gave it)"
        );
    }
}
