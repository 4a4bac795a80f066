//! Caches that are the builder's own, in buildx's words (docs.docker.com, "Cache storage backends"): where a builder leaves what it
//! has built, and where it looks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::{Hidden, ImageName, ParseReferenceError, Platform, Reference, RegistryPrefix};

/// What may be said of caches: `REF`, our own way, or `type=…`, the builder's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheWay {
    /// A registry and a path, below which stages of images have names.
    Stages(RegistryPrefix),
    /// One of the builder's own.
    Builder(BuilderCache),
}

/// Any number of them, as one text: `harbor.example.com/cache,type=gha,scope=main`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct CacheWays(pub Vec<CacheWay>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for CacheWays {
    type Error = String;

    fn try_from(texts: OneOrMany) -> Result<Self, String> {
        match texts {
            OneOrMany::One(text) => text.parse(),
            OneOrMany::Many(texts) => {
                let all: Vec<Self> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
                Ok(all.into_iter().collect())
            }
        }
    }
}

impl FromIterator<CacheWays> for CacheWays {
    fn from_iter<I: IntoIterator<Item = CacheWays>>(all: I) -> Self {
        Self(all.into_iter().flat_map(|ways| ways.0).collect())
    }
}

impl FromStr for CacheWays {
    type Err = String;

    /// A comma begins another cache unless what follows is a `key=value` of the one before.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all: Vec<Result<RegistryPrefix, BTreeMap<String, String>>> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match (part.split_once('='), all.last_mut()) {
                (Some(("type", kind)), _) => {
                    all.push(Err(BTreeMap::from([("type".to_owned(), kind.to_owned())])));
                }
                (Some((key, value)), Some(Err(attrs))) => {
                    attrs.insert(key.to_owned(), value.to_owned());
                }
                _ => all.push(Ok(part.parse().map_err(|error: ParseReferenceError| error.to_string())?)),
            }
        }
        let way = |one| match one {
            Ok(registry) => Ok(CacheWay::Stages(registry)),
            Err(attrs) => BuilderCache::new(attrs).map(CacheWay::Builder),
        };
        Ok(Self(all.into_iter().map(way).collect::<Result<_, String>>()?))
    }
}

/// Where a builder keeps a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// In a registry, as an image of its own.
    Registry,
    /// In the image itself; of its last stage only.
    Inline,
    /// In GitHub's cache of workflows.
    Gha,
    /// In a bucket.
    S3,
    /// In Azure's store of blobs.
    Azblob,
    /// In a folder on this machine.
    Local,
}

/// One cache of the builder's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderCache {
    /// Where it is.
    pub kind: CacheKind,
    attrs: BTreeMap<String, String>,
    /// What opens it, from the environment; it is in no plan and no record.
    hidden: BTreeMap<&'static str, Hidden>,
}

impl BuilderCache {
    fn new(mut attrs: BTreeMap<String, String>) -> Result<Self, String> {
        let kind = attrs.remove("type").unwrap_or_default();
        let (kind, wanted): (_, &[&str]) = match kind.as_str() {
            "registry" => (CacheKind::Registry, &["ref"]),
            "inline" => (CacheKind::Inline, &[]),
            "gha" => (CacheKind::Gha, &[]),
            "s3" => (CacheKind::S3, &["bucket", "region"]),
            "azblob" => (CacheKind::Azblob, &["account_url"]),
            "local" => (CacheKind::Local, &[]),
            other => {
                return Err(format!(
                    "`type={other}` is no cache: there are registry, local, inline, gha, s3 and azblob"
                ));
            }
        };
        // buildx calls the folder by where it stands: one for both does as well.
        if kind == CacheKind::Local && !attrs.contains_key("src") && !attrs.contains_key("dest") {
            return Err("`type=local` needs `src=FOLDER` to look in, `dest=FOLDER` to leave in".to_owned());
        }
        let lacking = wanted.iter().find(|name| !attrs.contains_key(**name));
        if let Some(name) = lacking {
            return Err(format!("`type={kind}` needs `{name}=…`"));
        }
        if let Some(text) = attrs.get("ref") {
            text.parse::<Reference>().map_err(|error| error.to_string())?;
        }
        // Whoever types a secret shows it to everybody who sees processes.
        let secret = ["token", "secret_access_key", "session_token", "secret"]
            .iter()
            .find(|key| attrs.contains_key(**key));
        if let Some(key) = secret {
            return Err(format!("`{key}` is a secret, and is taken from the environment alone"));
        }
        Ok(Self { kind, attrs, hidden: BTreeMap::new() })
    }

    /// The same with what opens it, which `variable` has, and where it is: folders are relative to `root`.
    pub fn opened(mut self, variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Self {
        for key in ["src", "dest"] {
            if let Some(folder) = self.attrs.get_mut(key).filter(|_| self.kind == CacheKind::Local) {
                *folder = root.join(&*folder).to_string_lossy().into_owned();
            }
        }
        // As buildx takes them (buildx, `util/buildflags/cache.go`; docs.docker.com, "Amazon S3 cache").
        let names: &[(&str, &str)] = match self.kind {
            CacheKind::Gha => &[
                ("token", "ACTIONS_RUNTIME_TOKEN"),
                ("url", "ACTIONS_CACHE_URL"),
                ("url_v2", "ACTIONS_RESULTS_URL"),
            ],
            CacheKind::S3 => &[
                ("access_key_id", "AWS_ACCESS_KEY_ID"),
                ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
                ("session_token", "AWS_SESSION_TOKEN"),
            ],
            CacheKind::Azblob => &[("secret_access_key", "BUILDKIT_AZURE_STORAGE_SECRET")],
            CacheKind::Registry | CacheKind::Inline | CacheKind::Local => &[],
        };
        for (key, name) in names {
            if let Some(value) =
                variable(name).filter(|value| !value.is_empty() && !self.attrs.contains_key(*key))
            {
                self.hidden.insert(key, Hidden::new(value));
            }
        }
        if self.kind == CacheKind::Gha
            && variable("ACTIONS_CACHE_SERVICE_V2").is_some_and(|value| !value.is_empty())
        {
            self.attrs.entry("version".to_owned()).or_insert_with(|| "2".to_owned());
        }
        self
    }

    /// What is lacking to open it, for people.
    pub fn closed_because(&self) -> Option<&'static str> {
        (self.kind == CacheKind::Gha && !self.hidden.contains_key("token")).then_some(
            "ACTIONS_RUNTIME_TOKEN is not set, which only a step of a workflow has that asks for it",
        )
    }

    /// What nobody is to see.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &str)> {
        // Keys that only name somebody, and addresses, hide nothing.
        let is_secret = |key: &&str| !matches!(*key, "access_key_id" | "url" | "url_v2");
        self.hidden.iter().filter(move |(key, _)| is_secret(key)).map(|(key, value)| (*key, value.reveal()))
    }

    /// The registry that it is in, if it is in one.
    pub fn registry(&self) -> Option<RegistryPrefix> {
        let name: Reference = self.attrs.get("ref")?.parse().ok()?;
        name.domain().parse().ok()
    }

    /// The folder that it is in, if it is in one; `key` is what buildx calls it, `src` or `dest`.
    pub fn folder(&self, key: &str) -> Option<&Path> {
        let other = if key == "src" { "dest" } else { "src" };
        let folder = self.attrs.get(key).or_else(|| self.attrs.get(other))?;
        (self.kind == CacheKind::Local).then(|| Path::new(folder))
    }

    /// What an image's part of it is called.
    pub fn tag(&self) -> &str {
        self.attrs.get("tag").map_or("latest", String::as_str)
    }

    /// The same for one of several images: one would overwrite what the other left. A `ref` that names a tag is meant as it is.
    pub fn of_image(&self, image: &ImageName, platform: &Platform) -> Self {
        let mut own = self.clone();
        let mut begin = |key: &str, end: String| {
            let text = own.attrs.get(key).map_or_else(|| end.clone(), |begin| format!("{begin}-{end}"));
            own.attrs.insert(key.to_owned(), text);
        };
        match self.kind {
            CacheKind::Gha => begin("scope", format!("{image}-{}", platform.arch)),
            CacheKind::S3 | CacheKind::Azblob => begin("name", format!("{image}-{}", platform.arch)),
            CacheKind::Local => begin("tag", format!("{image}-{}", platform.arch)),
            CacheKind::Inline => {}
            CacheKind::Registry => {
                if let Some(text) = own.attrs.get_mut("ref")
                    && text.rsplit('/').next().is_some_and(|last| !last.contains([':', '@']))
                {
                    *text = format!("{text}/{image}:bake-{}", platform.arch);
                }
            }
        }
        own
    }

    /// What the builder is told, secrets included.
    pub fn told(&self) -> impl Iterator<Item = (String, String)> {
        let plain = self.attrs.iter().map(|(key, value)| (key.clone(), value.clone()));
        let is_plain_http = self.registry().is_some_and(|registry| registry.is_on_this_machine());
        let insecure = is_plain_http.then(|| ("registry.insecure".to_owned(), "true".to_owned()));
        let hidden = self.hidden.iter().map(|(key, value)| ((*key).to_owned(), value.reveal().to_owned()));
        // The same folder stands where the builder looks for it, whichever way it is used.
        let folder = |key: &str| Some((key.to_owned(), self.folder(key)?.to_str()?.to_owned()));
        let folders = ["src", "dest"].into_iter().filter_map(folder);
        plain.chain(insecure).chain(folders).chain(hidden)
    }
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Inline => "inline",
            Self::Gha => "gha",
            Self::S3 => "s3",
            Self::Azblob => "azblob",
            Self::Local => "local",
        })
    }
}

/// As it was typed; what opens it is not in it.
impl fmt::Display for BuilderCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type={}", self.kind)?;
        self.attrs.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

/// The builder's own caches of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderCaches {
    /// Where it looks.
    pub from: Vec<BuilderCache>,
    /// Where it leaves what it has built.
    pub to: Vec<BuilderCache>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let ways: CacheWays = text.parse()?;
        Ok(ways
            .0
            .iter()
            .map(|way| match way {
                CacheWay::Stages(registry) => registry.to_string(),
                CacheWay::Builder(cache) => cache.to_string(),
            })
            .collect())
    }

    #[test]
    fn our_own_way_and_buildx_s_stand_side_by_side() {
        for (text, expected) in [
            ("", &[][..]),
            ("r.example/a,r.example/b", &["r.example/a", "r.example/b"]),
            ("type=registry,ref=r.example/c,mode=max", &["type=registry,mode=max,ref=r.example/c"]),
            (
                "r.example/a, type=gha,scope=x ,type=inline",
                &["r.example/a", "type=gha,scope=x", "type=inline"],
            ),
        ] {
            assert_eq!(
                read(text).as_deref(),
                Ok(&expected.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..])
            );
        }
        for (text, why) in [
            ("type=disk", "`type=disk` is no cache"),
            ("type=registry", "`type=registry` needs `ref=…`"),
            ("type=s3,bucket=b", "needs `region=…`"),
            ("type=local,mode=max", "`type=local` needs `src=FOLDER`"),
            ("type=gha,token=abc", "`token` is a secret"),
            ("scope=x", "scope=x"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(why) && !told.contains("abc"), "{text}: {told}");
        }
    }

    #[test]
    fn each_image_has_a_place_of_its_own_in_a_cache() {
        let (image, platform) = (ImageName::new("api"), Platform::new("linux", "amd64", None));
        for (text, expected) in [
            ("type=registry,ref=r.example/c", "type=registry,ref=r.example/c/api:bake-amd64"),
            ("type=registry,ref=r.example:5000/c", "type=registry,ref=r.example:5000/c/api:bake-amd64"),
            ("type=registry,ref=r.example/c:one", "type=registry,ref=r.example/c:one"),
            ("type=gha", "type=gha,scope=api-amd64"),
            ("type=gha,scope=main", "type=gha,scope=main-api-amd64"),
            ("type=s3,bucket=b,region=r", "type=s3,bucket=b,name=api-amd64,region=r"),
            ("type=local,dest=c", "type=local,dest=c,tag=api-amd64"),
            ("type=local,src=c,tag=main", "type=local,src=c,tag=main-api-amd64"),
            ("type=inline", "type=inline"),
        ] {
            let ways: CacheWays = text.parse().expect(text);
            let [CacheWay::Builder(cache)] = &ways.0[..] else { panic!("{text}") };
            assert_eq!(cache.of_image(&image, &platform).to_string(), expected);
        }
    }

    #[test]
    fn what_opens_a_cache_is_told_to_the_builder_alone() {
        let ways: CacheWays = "type=gha".parse().expect("a cache");
        let [CacheWay::Builder(cache)] = &ways.0[..] else { panic!("one") };
        assert!(cache.closed_because().is_some());
        let variable = |name: &str| (name == "ACTIONS_RUNTIME_TOKEN").then(|| "t0ken".to_owned());
        let opened = cache.clone().opened(&variable, Path::new("/tree"));
        assert!(opened.closed_because().is_none());
        assert!(opened.told().any(|(key, value)| (key.as_str(), value.as_str()) == ("token", "t0ken")));
        assert!(!format!("{opened:?} {opened}").contains("t0ken"));
        assert_eq!(opened.secrets().collect::<Vec<_>>(), [("token", "t0ken")]);
    }

    #[test]
    fn the_folder_of_a_cache_is_relative_to_the_root() {
        for (text, folder) in [
            ("type=local,src=a/b", Some("/tree/a/b")),
            ("type=local,dest=/c", Some("/c")),
            ("type=registry,ref=r.example/c", None),
        ] {
            let ways: CacheWays = text.parse().expect(text);
            let [CacheWay::Builder(cache)] = &ways.0[..] else { panic!("{text}") };
            let opened = cache.clone().opened(&|_| None, Path::new("/tree"));
            for key in ["src", "dest"] {
                assert_eq!(opened.folder(key), folder.map(Path::new), "{text}");
            }
        }
    }
}
