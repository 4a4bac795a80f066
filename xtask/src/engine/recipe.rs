//! Makes a base image that no registry gives: a root folder by debootstrap, slimmed, imported as one layer.
//!
//! In: a [`Recipe`] and an engine. Out: the image under its reference, labelled as made by a recipe. All work
//! is done in a temporary folder below `target/xtask/`, which is gone afterwards, whatever happened. It never
//! decides whether a recipe may be used; `--bootstrap` and the plan do.

pub mod apt_sources;
pub mod debootstrap;

use std::collections::BTreeMap;
use std::path::Path;

use super::provision::ProvisionError;
use super::{OnProgress, Progress, Store};
use crate::host::HostCommand;
use crate::host::inside::Folder;
use crate::model::{ImageId, LogStream, Platform, Recipe, Reference, labels};
use apt_sources::image_sources;
use debootstrap::{Debootstrap, Work};

/// Makes `reference` on `engine`; returns the image ID. Dropping the future removes what was made so far.
///
/// # Errors
/// When debootstrap is missing, without root, for a platform that is not this host's, when debootstrap fails
/// (its last lines are in the error), or when the engine refuses the import.
pub async fn make<E: Store>(
    engine: &E,
    root: &Path,
    recipe: &Recipe,
    reference: &Reference,
    platform: &Platform,
    progress: OnProgress<'_>,
) -> Result<ImageId, ProvisionError> {
    let Recipe::Debootstrap { suite, mirror: wanted, variant, include } = recipe;
    let failed = |why: String| ProvisionError::Recipe { reference: reference.familiar(), why };
    let privilege = debootstrap::privilege(&reference.familiar())?;
    let system = Debootstrap::new(suite, wanted.as_deref(), variant.as_deref(), include, platform);
    let system = system.ok_or_else(|| {
        let here = debootstrap::host_arch();
        failed(format!("debootstrap makes linux/{here} here, and {platform} is asked for"))
    })?;
    let begin = || {
        let work = Work::begin(&Folder::open(root)?.below("target/xtask")?, "recipe-", privilege)?;
        // Made by us, so that it stays ours to read when root has written into it.
        Folder::open(work.path())?.append("root.tar")?;
        Ok(work)
    };
    let work = begin().map_err(|source| ProvisionError::File {
        doing: "make a folder in",
        path: root.join("target/xtask"),
        source,
    })?;
    let tar = work.path().join("root.tar");
    system.run(&work, progress).await.map_err(|error| failed(error.to_string()))?;
    tell(progress, "slimming and packing");
    HostCommand::script(FINISH)
        .path(&work.tree())
        .path(&tar)
        .arg(image_sources(&system.mirror, &debootstrap::host_sources(), suite))
        .as_root(privilege)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    tell(progress, "importing");
    engine
        .import(&tar, reference, platform, &labels_of(&system))
        .await
        .map_err(|error| failed(error.to_string()))
}

fn tell(progress: OnProgress<'_>, line: &str) {
    progress(Progress::Log { stream: LogStream::Progress, line: line.to_owned() });
}

/// A sentence for people: `made debian:12-slim by debootstrap bookworm (no registry gave it)`.
pub fn announcement(recipe: &Recipe, reference: &Reference) -> String {
    let Recipe::Debootstrap { suite, .. } = recipe;
    format!("made {} by debootstrap {suite} (no registry gave it)", reference.familiar())
}

fn labels_of(system: &Debootstrap) -> BTreeMap<String, String> {
    let suite = &system.suite;
    BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), format!("{suite} base")),
        (
            "org.opencontainers.image.description".to_owned(),
            format!("Made on this machine by debootstrap {suite}, since no registry gave it"),
        ),
        (labels::RECIPE.to_owned(), system.told()),
    ])
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

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
        host::query("sh", &["-c", FINISH, "sh", &tree, &tar, "deb http://m/debian s main"]).expect("packs");
        let listed = host::query("tar", &["-tf", &tar]).expect("a tar");
        let below = |folder: &str| {
            let prefix = format!("./usr/share/{folder}/");
            listed.lines().filter_map(|line| line.strip_prefix(&prefix)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(below("man"), " man1/ man2/ man3/ man4/ man5/ man6/ man7/ man8/");
        assert_eq!(below("doc"), " a/ a/copyright");
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
