//! The names of a base image: which exist, and which original a name stands for.

use std::collections::{BTreeMap, HashMap};

use super::{Reference, RegistryPrefix, Upstreams};

const LOCALHOST: &str = "localhost";

/// How names are made. With P = the original without its domain (`redis:7-alpine`), the others are
/// `localhost/P` and, when an internal registry is set, `<INTERNAL_REGISTRY>/P` (SPEC, "Aliases").
#[derive(Clone, Copy, Debug)]
pub struct AliasRules<'a> {
    /// `INTERNAL_REGISTRY`
    pub internal_registry: Option<&'a RegistryPrefix>,
    /// Path prefixes by domain, which keep P of different domains apart: `"quay.io" = "quay"`.
    pub prefixes: &'a BTreeMap<String, String>,
}

/// All names of one original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasNames {
    /// What the Dockerfiles mean.
    pub original: Reference,
    /// `localhost/P`; none when the original's digest forbids a further name, or P makes no reference.
    pub localhost: Option<Reference>,
    /// `<INTERNAL_REGISTRY>/P`; none without an internal registry too.
    pub internal: Option<Reference>,
}

impl AliasRules<'_> {
    /// P: the reference without its domain, tag and digest kept, below its domain's prefix if it has one.
    pub fn path_of(&self, original: &Reference) -> String {
        let path = original.without_domain();
        match self.prefixes.get(original.domain()) {
            Some(prefix) => format!("{}/{path}", prefix.trim_matches('/')),
            None => path,
        }
    }

    /// The names of an original. What is pinned by digest alone has only itself: an engine cannot give an
    /// image a name with a digest. A tag beside the digest is a name, so the others follow the tag.
    pub fn names_of(&self, original: &Reference) -> AliasNames {
        let Some(tagged) = original.without_digest() else {
            return AliasNames { original: original.clone(), localhost: None, internal: None };
        };
        let internal = self.internal_name(&tagged);
        let localhost = format!("{LOCALHOST}/{}", self.path_of(&tagged)).parse().ok();
        AliasNames { original: tagged, localhost, internal }
    }

    /// `<INTERNAL_REGISTRY>/P`, a digest kept: what to ask the internal registry for.
    pub fn internal_name(&self, original: &Reference) -> Option<Reference> {
        self.internal_registry?.join(&self.path_of(original)).ok()
    }

    /// True for `localhost/P` and `<INTERNAL_REGISTRY>/P`.
    pub fn is_alias(&self, name: &Reference) -> bool {
        self.path_of_alias(name).is_some()
    }

    /// True for what lies under the internal registry.
    pub fn is_internal(&self, name: &Reference) -> bool {
        self.internal_registry.is_some_and(|registry| registry.strip(name).is_some())
    }

    fn path_of_alias(&self, name: &Reference) -> Option<String> {
        match self.internal_registry.and_then(|registry| registry.strip(name)) {
            Some(path) => Some(path),
            None => (name.domain() == LOCALHOST).then(|| name.without_domain()),
        }
    }
}

/// The originals that a tree knows, to tell which of them a name in any form stands for.
#[derive(Clone, Debug)]
pub struct Originals<'a> {
    rules: AliasRules<'a>,
    by_path: HashMap<String, Vec<Reference>>,
    upstreams: Upstreams,
}

impl<'a> Originals<'a> {
    /// From every reference of the tree; aliases among them add nothing.
    pub fn new<'r>(rules: AliasRules<'a>, known: impl IntoIterator<Item = &'r Reference>) -> Self {
        let mut by_path: HashMap<String, Vec<Reference>> = HashMap::new();
        for name in known.into_iter().filter(|name| !rules.is_alias(name)) {
            // `localhost/a/b:1` also stands for `quay.io/a/b:1@sha256:…`, whose tag it shares.
            for form in [Some(name.clone()), name.without_digest()].into_iter().flatten() {
                let same_path = by_path.entry(rules.path_of(&form)).or_default();
                if !same_path.contains(&form) {
                    same_path.push(form);
                }
            }
        }
        Self { rules, by_path, upstreams: Upstreams::default() }
    }

    /// The same, where images of the tree take the names of some of them.
    #[must_use]
    pub fn beside(self, upstreams: &Upstreams) -> Self {
        Self { upstreams: upstreams.clone(), ..self }
    }

    /// Those whose names images of the tree take.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// How names are made.
    pub fn rules(&self) -> AliasRules<'a> {
        self.rules
    }

    /// The original that a name in any form stands for; a name that is no alias stands for itself.
    ///
    /// P does not tell the domain, so the known originals decide; then the prefixes of the settings; then it
    /// is read as Docker reads a name without a domain.
    pub fn original_of(&self, name: &Reference) -> Reference {
        let Some(path) = self.rules.path_of_alias(name) else { return name.clone() };
        if let Some(original) = self.by_path.get(&path).and_then(|same_path| same_path.first()) {
            return original.clone();
        }
        let by_prefix = self.rules.prefixes.iter().find_map(|(domain, prefix)| {
            let rest = path.strip_prefix(prefix.trim_matches('/'))?.strip_prefix('/')?;
            format!("{domain}/{rest}").parse().ok()
        });
        by_prefix.or_else(|| path.parse().ok()).unwrap_or_else(|| name.clone())
    }

    /// Another known original that wants the same names.
    pub fn clash_of(&self, original: &Reference) -> Option<&Reference> {
        let tagged = original.without_digest()?;
        self.by_path.get(&self.rules.path_of(&tagged))?.iter().find(|other| **other != tagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().expect(text)
    }

    #[track_caller]
    fn check(internal: Option<&str>, mapped: bool, original: &str, names: &[&str]) {
        let registry: Option<RegistryPrefix> = internal.map(|text| text.parse().expect(text));
        let mut prefixes = BTreeMap::new();
        if mapped {
            prefixes.insert("quay.io".to_owned(), "quay".to_owned());
        }
        let rules = AliasRules { internal_registry: registry.as_ref(), prefixes: &prefixes };
        let original = parse(original);
        let all = rules.names_of(&original);
        let others: Vec<String> =
            [&all.localhost, &all.internal].into_iter().flatten().map(ToString::to_string).collect();
        assert_eq!(others, names, "names of {original}");
        for name in others {
            let found = Originals::new(rules, [&original]).original_of(&parse(&name));
            assert_eq!(Some(found), original.without_digest(), "original of {name}");
        }
        assert_eq!(
            Originals::new(rules, []).original_of(&original),
            original,
            "an original stands for itself"
        );
    }

    #[test]
    fn every_form_leads_back_to_the_original() {
        let harbor = Some("harbor.example.com:8443/ai-infra/");
        check(None, false, "redis:7-alpine", &["localhost/redis:7-alpine"]);
        check(
            harbor,
            false,
            "redis:7-alpine",
            &["localhost/redis:7-alpine", "harbor.example.com:8443/ai-infra/redis:7-alpine"],
        );
        check(
            harbor,
            false,
            "osixia/openldap:stable",
            &["localhost/osixia/openldap:stable", "harbor.example.com:8443/ai-infra/osixia/openldap:stable"],
        );
        check(
            Some("harbor.example.com"),
            false,
            "quay.io/keycloak/keycloak:26.0",
            &["localhost/keycloak/keycloak:26.0", "harbor.example.com/keycloak/keycloak:26.0"],
        );
        check(
            Some("harbor.example.com"),
            true,
            "quay.io/keycloak/keycloak:26.0",
            &["localhost/quay/keycloak/keycloak:26.0", "harbor.example.com/quay/keycloak/keycloak:26.0"],
        );
    }

    #[test]
    fn a_digest_alone_has_no_aliases_and_a_tag_beside_it_has() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check(None, false, &format!("redis@{digest}"), &[]);
        check(
            Some("h.example.com"),
            false,
            &format!("redis:7@{digest}"),
            &["localhost/redis:7", "h.example.com/redis:7"],
        );
        let registry: RegistryPrefix = "h.example.com/p".parse().expect("registry");
        let prefixes = BTreeMap::new();
        let rules = AliasRules { internal_registry: Some(&registry), prefixes: &prefixes };
        let asked = rules.internal_name(&parse(&format!("redis@{digest}"))).expect("a name");
        assert_eq!(asked.to_string(), format!("h.example.com/p/redis@{digest}"));
    }

    #[track_caller]
    fn original(name: &str, known: &[&str], expected: &str) {
        let registry: RegistryPrefix = "h.example.com/p".parse().expect("registry");
        let prefixes = BTreeMap::from([("quay.io".to_owned(), "quay".to_owned())]);
        let rules = AliasRules { internal_registry: Some(&registry), prefixes: &prefixes };
        let known: Vec<Reference> = known.iter().map(|text| parse(text)).collect();
        assert_eq!(Originals::new(rules, &known).original_of(&parse(name)).familiar(), expected);
    }

    #[test]
    fn known_originals_decide_then_prefixes_then_docker() {
        original("localhost/a/b:1", &[], "a/b:1");
        original("localhost/a/b:1", &["gcr.io/a/b:1"], "gcr.io/a/b:1");
        original("localhost/a/b:2", &["gcr.io/a/b:1"], "a/b:2");
        original("localhost/quay/a/b:1", &[], "quay.io/a/b:1");
        original("h.example.com/p/redis:7", &[], "redis:7");
        original("h.example.com/p/library/redis:7", &[], "redis:7");
        original("h.example.com/other/redis:7", &[], "h.example.com/other/redis:7");
        original("localhost:5000/redis:7", &[], "localhost:5000/redis:7");
        original("localhost/redis:7", &["localhost/redis:7"], "redis:7");
    }

    #[test]
    fn two_domains_with_the_same_path_clash_until_one_has_a_prefix() {
        let known = [parse("a/b:1"), parse("gcr.io/a/b:1"), parse("quay.io/a/b:1"), parse("quay.io/a/b:2")];
        let none = BTreeMap::new();
        let originals = Originals::new(AliasRules { internal_registry: None, prefixes: &none }, &known);
        assert_eq!(originals.clash_of(&known[0]), Some(&known[1]));
        assert_eq!(originals.clash_of(&known[2]), Some(&known[0]));
        assert_eq!(originals.clash_of(&known[3]), None);
        let mapped = BTreeMap::from([("quay.io".to_owned(), "quay".to_owned())]);
        let originals = Originals::new(AliasRules { internal_registry: None, prefixes: &mapped }, &known);
        assert_eq!(originals.clash_of(&known[2]), None);
    }

    #[test]
    fn docker_hub_itself_may_be_the_internal_registry() {
        let registry: RegistryPrefix = "docker.io".parse().expect("registry");
        let prefixes = BTreeMap::new();
        let rules = AliasRules { internal_registry: Some(&registry), prefixes: &prefixes };
        assert_eq!(Originals::new(rules, []).original_of(&parse("redis:7")), parse("redis:7"));
        assert_eq!(rules.names_of(&parse("redis:7")).internal, Some(parse("redis:7")));
    }
}
