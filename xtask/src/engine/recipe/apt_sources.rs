//! The package mirrors that this host uses, and the sources that an image gets. Pure: texts in, text out.
//!
//! Formats: sources.list(5), one-line and deb822.

/// Where Debian's packages are when nobody says otherwise.
const DEBIAN: &str = "http://deb.debian.org/debian";
const DEBIAN_SECURITY: &str = "http://deb.debian.org/debian-security";
const UBUNTU: &str = "http://archive.ubuntu.com/ubuntu";
/// Ubuntu's architectures beyond amd64 and i386.
const UBUNTU_PORTS: &str = "http://ports.ubuntu.com/ubuntu-ports";

/// Suites that are Ubuntu's; every other one is taken for Debian's.
const UBUNTU_SUITES: [&str; 8] =
    ["bionic", "focal", "jammy", "mantic", "noble", "oracular", "plucky", "questing"];

/// One archive that a host reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `http://deb.debian.org/debian`, without a trailing slash.
    pub uri: String,
    /// `bookworm`, `bookworm-updates`
    pub suite: String,
    /// `main`
    pub components: Vec<String>,
}

/// The archives that a host's `sources.list` and `*.list` name.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

/// `deb [options] uri suite component…`
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    source(words.next()?, words.next()?, words.map(str::to_owned).collect())
}

/// The archives that a host's `*.sources` name.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(sources_of(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

fn sources_of(stanza: &[(String, String)]) -> Vec<Source> {
    let words = |name: &str| -> Vec<&str> {
        stanza
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.split_ascii_whitespace().collect())
            .unwrap_or_default()
    };
    if !words("types").contains(&"deb") || words("enabled").first().is_some_and(|word| is_no(word)) {
        return Vec::new();
    }
    let components: Vec<String> = words("components").into_iter().map(str::to_owned).collect();
    words("uris")
        .into_iter()
        .flat_map(|uri| words("suites").into_iter().map(move |suite| (uri, suite)))
        .filter_map(|(uri, suite)| source(uri, suite, components.clone()))
        .collect()
}

fn is_no(word: &str) -> bool {
    ["no", "false", "without", "off", "disable"].contains(&word.to_ascii_lowercase().as_str())
}

/// Only what debootstrap can fetch and what is an archive with suites: no cdrom, no `mirror+file:`, no `./`.
fn source(uri: &str, suite: &str, components: Vec<String>) -> Option<Source> {
    let fetchable = uri.starts_with("http://") || uri.starts_with("https://");
    (fetchable && !components.is_empty() && !suite.ends_with('/')).then(|| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components,
    })
}

/// Where to get `suite` from: the recipe's own mirror, else the host's (its network may reach only that), else
/// the distribution's.
pub fn mirror(recipe: Option<&str>, host: &[Source], suite: &str, debian_arch: &str) -> String {
    if let Some(mirror) = recipe {
        return mirror.trim_end_matches('/').to_owned();
    }
    let exactly = host.iter().find(|source| source.suite == suite && has_main(source));
    let ubuntu = is_ubuntu(suite);
    // A Debian archive has all of Debian's suites.
    let same_archive = || {
        host.iter().find(|source| {
            has_main(source)
                && is_ubuntu(base_suite(&source.suite)) == ubuntu
                && source.uri.ends_with(if ubuntu { "/ubuntu" } else { "/debian" })
        })
    };
    match exactly.or_else(same_archive) {
        Some(source) => source.uri.clone(),
        None if !ubuntu => DEBIAN.to_owned(),
        None if ["amd64", "i386"].contains(&debian_arch) => UBUNTU.to_owned(),
        None => UBUNTU_PORTS.to_owned(),
    }
}

fn has_main(source: &Source) -> bool {
    source.components.iter().any(|component| component == "main")
}

fn is_ubuntu(suite: &str) -> bool {
    UBUNTU_SUITES.contains(&suite)
}

fn base_suite(suite: &str) -> &str {
    suite.split('-').next().unwrap_or(suite)
}

/// The image's `sources.list`: the suite itself, and its updates and security fixes as far as the host reads
/// them; all of them when the mirror is Debian's own.
pub fn image_sources(mirror: &str, host: &[Source], suite: &str) -> String {
    let mut lines = vec![format!("deb {mirror} {suite} main")];
    let updates = format!("{suite}-updates");
    let security = format!("{suite}-security");
    let of_host = |wanted: &str| {
        host.iter()
            .find(|source| source.suite == wanted && has_main(source))
            .map(|source| source.uri.as_str())
    };
    let own = mirror == DEBIAN && !matches!(suite, "sid" | "unstable" | "experimental");
    if let Some(uri) = of_host(&updates).or(own.then_some(mirror)) {
        lines.push(format!("deb {uri} {updates} main"));
    }
    if let Some(uri) = of_host(&security).or(own.then_some(DEBIAN_SECURITY)) {
        lines.push(format!("deb {uri} {security} main"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a snapshot
URIs: http://mirror.example.com/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.com/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://apt.example.com
Suites: ./
Components:

Enabled: no
Types: deb
URIs: http://off.example.com/debian
Suites: bookworm
Components: main
";

    fn shown(sources: &[Source]) -> String {
        let lines: Vec<String> =
            sources.iter().map(|s| format!("{} {} {}", s.uri, s.suite, s.components.join(","))).collect();
        lines.join("\n")
    }

    #[test]
    fn reads_both_formats() {
        insta::assert_snapshot!(shown(&parse_deb822(DEB822)), @r"
        http://mirror.example.com/debian bookworm main,contrib
        http://mirror.example.com/debian bookworm-updates main,contrib
        http://mirror.example.com/debian-security bookworm-security main
        ");
        let list = "\
# deb http://a/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://b.example.com/ubuntu/ noble main universe # here
deb-src http://c/debian bookworm main
deb cdrom:[Debian 12]/ bookworm main
deb\thttp://d/debian\tbookworm\tmain
deb http://e/flat ./
";
        insta::assert_snapshot!(shown(&parse_list(list)), @r"
        https://b.example.com/ubuntu noble main,universe
        http://d/debian bookworm main
        ");
    }

    #[track_caller]
    fn check(recipe: Option<&str>, host: &str, suite: &str, arch: &str, expected: &str) {
        assert_eq!(mirror(recipe, &parse_deb822(host), suite, arch), expected);
    }

    #[test]
    fn takes_the_mirror_that_the_host_can_reach() {
        check(None, DEB822, "bookworm", "amd64", "http://mirror.example.com/debian");
        check(None, DEB822, "trixie", "arm64", "http://mirror.example.com/debian");
        check(None, DEB822, "noble", "amd64", UBUNTU);
        check(None, DEB822, "noble", "arm64", UBUNTU_PORTS);
        check(None, "", "bookworm", "amd64", DEBIAN);
        check(Some("http://x/d/"), DEB822, "bookworm", "amd64", "http://x/d");
    }

    #[test]
    fn an_image_reads_what_its_host_reads() {
        let host = parse_deb822(DEB822);
        insta::assert_snapshot!(image_sources("http://mirror.example.com/debian", &host, "bookworm"), @r"
        deb http://mirror.example.com/debian bookworm main
        deb http://mirror.example.com/debian bookworm-updates main
        deb http://mirror.example.com/debian-security bookworm-security main
        ");
        insta::assert_snapshot!(image_sources("http://x/debian", &host, "trixie"), @"deb http://x/debian trixie main");
        insta::assert_snapshot!(image_sources(DEBIAN, &[], "trixie"), @r"
        deb http://deb.debian.org/debian trixie main
        deb http://deb.debian.org/debian trixie-updates main
        deb http://deb.debian.org/debian-security trixie-security main
        ");
    }
}
