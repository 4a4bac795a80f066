//! Host packages: which programs are missing, and installing exactly those with apt-get, announced.
//!
//! Debian and Ubuntu only; elsewhere the error says what to install. A package's own service is kept from
//! starting: the engine that this program starts is private.

use super::{Announce, ProvisionError};
use crate::host::{self, HostCommand};

/// A program that the work needs, and the Debian package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The package's name.
    pub name: &'static str,
    /// The program; whatever brought it, the package is not needed then.
    pub program: &'static str,
    /// What it is needed for: `to build images`.
    pub why: &'static str,
}

/// The container engine.
pub const DOCKER: Package = Package { name: "docker.io", program: "dockerd", why: "to build images" };
/// Bridges of private engines.
pub const IPROUTE: Package =
    Package { name: "iproute2", program: "ip", why: "to give the private engine a bridge" };
/// The way out of build containers.
pub const IPTABLES: Package =
    Package { name: "iptables", program: "iptables", why: "to let builds reach package mirrors" };
/// Base images from packages.
pub const DEBOOTSTRAP: Package =
    Package { name: "debootstrap", program: "debootstrap", why: "to make base images from a recipe" };
/// A registry of our own, for tests.
pub const REGISTRY: Package =
    Package { name: "docker-registry", program: "docker-registry", why: "to test pulls and pushes" };
/// The smallest base image that does something, for tests.
pub const BUSYBOX: Package =
    Package { name: "busybox-static", program: "busybox", why: "to make small base images for tests" };

/// What a private engine needs.
pub const FOR_ENGINE: [Package; 3] = [DOCKER, IPROUTE, IPTABLES];

/// Those whose program is not on this machine.
pub fn missing_packages(packages: &[Package]) -> Vec<Package> {
    packages.iter().filter(|package| host::find_program(package.program).is_none()).copied().collect()
}

/// Installs what is missing, and announces each package with its version and purpose.
///
/// # Errors
/// When something is missing and this is not Debian or Ubuntu, when we are neither root nor have `sudo`
/// without a password, or when apt-get fails.
pub async fn ensure_packages(packages: &[Package], announce: Announce<'_>) -> Result<(), ProvisionError> {
    let missing = missing_packages(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_debian_like(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()) {
        return Err(ProvisionError::Missing { packages: missing });
    }
    let Some(privilege) = host::privilege() else {
        return Err(ProvisionError::NeedsRoot {
            what: format!("installing {}", words(&missing)),
            commands: vec![format!("sudo {}", install_command(&missing))],
        });
    };
    announce(format!("installing {} (apt-get; not on this machine yet)", words(&missing)));
    HostCommand::script(INSTALL)
        .args(missing.iter().map(|package| package.name))
        .as_root(privilege)
        .output()
        .await
        .map_err(|cause| ProvisionError::Install { packages: missing.clone(), cause })?;
    for package in &missing {
        let version = host::query("dpkg-query", &["--show", "--showformat=${Version}", package.name])
            .unwrap_or_else(|| "(unknown version)".to_owned());
        announce(format!("installed {} {} (apt-get, needed {})", package.name, version.trim(), package.why));
    }
    Ok(())
}

/// What a person would type to install them.
pub fn install_command(packages: &[Package]) -> String {
    format!(
        "apt-get install --no-install-recommends {}",
        packages.iter().map(|p| p.name).collect::<Vec<_>>().join(" ")
    )
}

pub(super) fn words(packages: &[Package]) -> String {
    packages.iter().map(|package| package.name).collect::<Vec<_>>().join(", ")
}

/// `ID` or `ID_LIKE` of os-release(5) names debian or ubuntu.
fn is_debian_like(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_ascii_whitespace())
        .any(|id| matches!(id, "debian" | "ubuntu"))
}

/// `policy-rc.d` with status 101 keeps a package's service from starting (Debian policy, `invoke-rc.d`); one
/// that is there already stays. An update that fails leaves the lists that apt has, which may do.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 143' INT TERM HUP
    printf '%s\n' '#!/bin/sh' '# Placed by xtask while it installs packages; safe to delete.' 'exit 101' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
patient='-o DPkg::Lock::Timeout=300 -o Acquire::http::Timeout=15 -o Acquire::Retries=4'
[ -z "$(dpkg --audit)" ] || dpkg --configure -a
apt-get $patient -q update || echo 'apt-get update failed; trying with the lists at hand' >&2
apt-get $patient -q -y install --no-install-recommends "$@"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debian_and_its_children() {
        for (text, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", true),
            ("ID=ubuntu\nID_LIKE=debian\n", true),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true),
            ("ID=fedora\nVARIANT_ID=debian\n", false),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\n", false),
            ("", false),
        ] {
            assert_eq!(is_debian_like(text), expected, "{text:?}");
        }
    }

    #[test]
    fn says_what_to_type() {
        assert_eq!(
            install_command(&[DOCKER, DEBOOTSTRAP]),
            "apt-get install --no-install-recommends docker.io debootstrap"
        );
    }

    #[tokio::test]
    async fn nothing_missing_is_nothing_done() {
        let shell = Package { name: "dash", program: "sh", why: "to run scripts" };
        ensure_packages(&[shell], &|said| panic!("{said}")).await.expect("is there");
    }
}
