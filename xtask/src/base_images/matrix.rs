//! Pure: systems x versions x platforms to images with their names.
//!
//! In: what the settings and the command line ask for. Out: one [`Cell`] an image. Rules: SPEC section 3, "Tags".

use std::cmp::Ordering;

use crate::model::{
    FurtherTag, ImageName, Indexes, ParseReferenceError, Platform, Reference, RegistryPrefix, suffix,
};

/// What decides the names of base images.
#[derive(Clone, Debug)]
pub struct Matrix<'a> {
    /// What they are called, without registry and tag.
    pub name: &'a str,
    /// The registry that they are named after, if one.
    pub registry: Option<&'a RegistryPrefix>,
    /// The versions to build, at least one.
    pub versions: Vec<String>,
    /// The default version, if anybody named one; only it gets `latest-OS`.
    pub default: Option<String>,
    /// What they run on, at least one. Where one name keeps one platform the first has the plain names.
    pub platforms: Vec<Platform>,
    /// Whether several platforms fit under one name.
    pub indexes: Indexes,
}

/// One image to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `fit-framework-debian`; with the version when there are several, with the machine when it is not the first one.
    pub image: ImageName,
    /// The version.
    pub version: String,
    /// The platform.
    pub platform: Platform,
    /// `R/fit-framework:V-OS`
    pub reference: Reference,
    /// `fit-framework:V-OS` beside it, when there is a registry.
    pub local_alias: Option<Reference>,
    /// `OS` and `latest-OS`.
    pub tags: Vec<FurtherTag>,
}

impl Matrix<'_> {
    /// Whether its images are variants, with an index over those of one version.
    pub fn is_indexed(&self) -> bool {
        self.platforms.len() > 1 && self.indexes == Indexes::Kept
    }

    /// The images of one system.
    ///
    /// # Errors
    /// When a name makes no reference: the folder of the system has a name that is no part of a tag.
    pub fn cells(&self, os: &str) -> Result<Vec<Cell>, ParseReferenceError> {
        let pairs = self.versions.iter().flat_map(|version| self.platforms.iter().map(move |p| (version, p)));
        pairs.enumerate().map(|(at, pair)| self.cell(os, at % self.platforms.len().max(1), pair)).collect()
    }

    fn cell(
        &self,
        os: &str,
        platform_at: usize,
        (version, platform): (&String, &Platform),
    ) -> Result<Cell, ParseReferenceError> {
        let machine = match platform_at {
            0 => String::new(),
            _ if self.is_indexed() => String::new(),
            _ => suffix(platform),
        };
        let named = |tag: String| {
            let plain = format!("{}:{tag}{machine}", self.name);
            let alias = plain.parse::<Reference>()?;
            Ok(match self.registry {
                Some(registry) => FurtherTag { name: registry.join(&plain)?, local_alias: Some(alias) },
                None => FurtherTag { name: alias, local_alias: None },
            })
        };
        let FurtherTag { name: reference, local_alias } = named(format!("{version}-{os}"))?;
        let mut tags = Vec::new();
        if self.short_tag_goes_to() == Some(version) {
            tags.push(named(os.to_owned())?);
        }
        if self.default.as_ref() == Some(version) {
            tags.push(named(format!("latest-{os}"))?);
        }
        let version_part = if self.versions.len() > 1 { format!("-{version}") } else { String::new() };
        let image = ImageName::new(format!("{}-{os}{version_part}{machine}", self.name.replace('/', "-")));
        Ok(Cell { image, version: version.clone(), platform: platform.clone(), reference, local_alias, tags })
    }

    /// Which of several versions is `OS`: the default one, else the highest.
    fn short_tag_goes_to(&self) -> Option<&String> {
        let default = self.versions.iter().find(|version| self.default.as_ref() == Some(*version));
        default.or_else(|| self.versions.iter().max_by(|one, other| compare_versions(one, other)))
    }
}

/// Numbers by value, the rest by letters; what goes on after a dash comes before what does not (`1.2.0-rc1 < 1.2.0`).
fn compare_versions(one: &str, other: &str) -> Ordering {
    fn parts(text: &str) -> (Vec<u64>, Option<&str>) {
        let (numbers, rest) = match text.split_once(['-', '_']) {
            Some((numbers, rest)) => (numbers, Some(rest)),
            None => (text, None),
        };
        let mut numbers: Vec<u64> = numbers.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        (numbers, rest)
    }
    let ((one_numbers, one_rest), (other_numbers, other_rest)) = (parts(one), parts(other));
    let by_rest = || match (one_rest, other_rest) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => one.cmp(other),
    };
    one_numbers.cmp(&other_numbers).then_with(by_rest).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(versions: &[&str], registry: Option<&str>, platforms: &[&str], expected: &[&str]) {
        let registry: Option<RegistryPrefix> = registry.map(|text| text.parse().unwrap());
        let matrix = Matrix {
            name: "fit-framework",
            registry: registry.as_ref(),
            versions: versions.iter().map(|v| (*v).to_owned()).collect(),
            default: Some("1.2.3".to_owned()),
            platforms: platforms.iter().map(|p| p.parse().unwrap()).collect(),
            indexes: Indexes::NotKept,
        };
        let told = |cell: &Cell| {
            let mut names = vec![cell.reference.familiar()];
            names.extend(cell.local_alias.iter().map(Reference::familiar));
            for tag in &cell.tags {
                names.push(tag.name.familiar());
                names.extend(tag.local_alias.iter().map(Reference::familiar));
            }
            format!("{}: {}", cell.image, names.join(" "))
        };
        let cells = matrix.cells("debian").unwrap();
        assert_eq!(cells.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_follow_version_registry_and_platform() {
        let amd = &["linux/amd64"][..];
        check(
            &["1.2.3"],
            None,
            amd,
            &[
                "fit-framework-debian: fit-framework:1.2.3-debian fit-framework:debian fit-framework:latest-debian",
            ],
        );
        check(
            &["9.9.9"],
            None,
            amd,
            &["fit-framework-debian: fit-framework:9.9.9-debian fit-framework:debian"],
        );
        check(
            &["1.2.3"],
            Some("localhost:5000/"),
            amd,
            &["fit-framework-debian: localhost:5000/fit-framework:1.2.3-debian fit-framework:1.2.3-debian \
               localhost:5000/fit-framework:debian fit-framework:debian \
               localhost:5000/fit-framework:latest-debian fit-framework:latest-debian"],
        );
        check(
            &["9.9.9", "1.2.3"],
            None,
            amd,
            &[
                "fit-framework-debian-9.9.9: fit-framework:9.9.9-debian",
                "fit-framework-debian-1.2.3: fit-framework:1.2.3-debian fit-framework:debian fit-framework:latest-debian",
            ],
        );
        check(
            &["9.9.9", "10.0.0"],
            None,
            amd,
            &[
                "fit-framework-debian-9.9.9: fit-framework:9.9.9-debian",
                "fit-framework-debian-10.0.0: fit-framework:10.0.0-debian fit-framework:debian",
            ],
        );
        check(
            &["9.9.9"],
            None,
            &["linux/amd64", "linux/arm/v7"],
            &[
                "fit-framework-debian: fit-framework:9.9.9-debian fit-framework:debian",
                "fit-framework-debian-arm-v7: fit-framework:9.9.9-debian-arm-v7 fit-framework:debian-arm-v7",
            ],
        );
    }

    #[test]
    fn versions_are_ordered_as_people_count() {
        let ascending = ["0.9", "1.2.0-alpha", "1.2.0-rc1", "1.2.0", "1.2.3", "1.10", "9.9.9", "10.0.0"];
        for (at, version) in ascending.iter().enumerate() {
            for later in &ascending[at + 1..] {
                assert_eq!(compare_versions(version, later), Ordering::Less, "{version} {later}");
                assert_eq!(compare_versions(later, version), Ordering::Greater, "{later} {version}");
            }
            assert_eq!(compare_versions(version, version), Ordering::Equal);
        }
    }
}
