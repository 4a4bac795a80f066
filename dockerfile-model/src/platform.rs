//! Platforms, `os/arch[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on. Compare normalised values: `linux/x86_64` parses to `linux/amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, … (Go's names).
    pub arch: String,
    /// `v7` for 32-bit arm; none for amd64 and arm64, whose defaults carry no variant.
    pub variant: Option<String>,
}

/// The text is not `os/arch[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected `os/arch` or `os/arch/variant`, for example `linux/amd64`")]
pub struct ParsePlatformError(String);

impl Platform {
    /// The platform from an engine's or image's own words, normalised as containerd does
    /// (github.com/containerd/platforms, `normalizeArch`).
    pub fn new(os: &str, arch: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let lower = arch.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase).filter(|v| !v.is_empty());
        let (arch, variant) = match (lower.as_str(), variant.as_deref()) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64", Some(v)) => ("amd64", Some(v)),
            ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
            ("aarch64", Some(v)) => ("arm64", Some(v)),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("7") | None) => ("arm", Some("v7")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, v) => (other, v),
        };
        Self { os, arch: arch.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// True when an image for `self` runs where `wanted` is asked for: the same, or an older 32-bit arm
    /// (github.com/containerd/platforms, `Only`). A side without a variant takes any.
    pub fn serves(&self, wanted: &Self) -> bool {
        let variant = match (&self.variant, &wanted.variant) {
            (Some(have), Some(want)) => have == want || (self.arch == "arm" && have < want),
            _ => true,
        };
        self.os == wanted.os && self.arch == wanted.arch && variant
    }

    /// What this machine's containers run on by default: Linux on the machine's own processor.
    pub fn local() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let clean = parts
            .iter()
            .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
        match (clean, parts.as_slice()) {
            (true, [os, arch]) => Ok(Self::new(os, arch, None)),
            (true, [os, arch, variant]) => Ok(Self::new(os, arch, Some(variant))),
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = ParsePlatformError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_arm_serves_a_newer_one() {
        for (have, want, serves) in [
            ("linux/amd64", "linux/x86_64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm/v6", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/amd64", "linux/arm64", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            let parse = |text: &str| text.parse::<Platform>().expect(text);
            assert_eq!(parse(have).serves(&parse(want)), serves, "{have} for {want}");
        }
    }
}
