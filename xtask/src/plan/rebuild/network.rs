//! Pure: whether a `RUN` is going to ask a server, as far as its text tells.
//!
//! In: the text of an instruction. Out: a [`Need`], with the words that say so. Package managers and download tools are
//! known by name from one table; what is not in it is not guessed at. A proof (`--prove`) knows better.

use std::fmt;

/// What an instruction wants of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing that is known here.
    Unknown,
    /// Perhaps: a build tool that fetches what it lacks. The words that say so.
    Perhaps(String),
    /// Yes: something is installed or downloaded. The words that say so.
    Yes(String),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no tool in it is known to need a network"),
            Self::Perhaps(words) => write!(f, "`{words}` fetches what it lacks"),
            Self::Yes(words) => write!(f, "`{words}` needs a network"),
        }
    }
}

/// One tool.
struct Tool {
    /// Its names.
    names: &'static [&'static str],
    /// First words with which it downloads; `*` is any, or none at all.
    fetches: &'static [&'static str],
    /// First words with which it downloads what is not there yet.
    may_fetch: &'static [&'static str],
    /// Words that keep it from asking anybody.
    stays_home: &'static [&'static str],
}

const fn tool(
    names: &'static [&'static str],
    fetches: &'static [&'static str],
    may_fetch: &'static [&'static str],
    stays_home: &'static [&'static str],
) -> Tool {
    Tool { names, fetches, may_fetch, stays_home }
}

/// The tools that images are usually built with, by their own manuals.
#[rustfmt::skip]
const TOOLS: &[Tool] = &[
    // Packages of the system.
    tool(&["apt-get", "apt", "aptitude"], &["update", "install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "download", "source"], &[], &["--no-download"]),
    tool(&["apk"], &["add", "update", "upgrade", "fetch"], &[], &["--no-network"]),
    tool(&["dnf", "yum", "microdnf", "tdnf"], &["install", "update", "upgrade", "makecache", "groupinstall", "module", "builddep", "download"], &[], &["-C", "--cacheonly"]),
    tool(&["zypper"], &["install", "in", "refresh", "ref", "update", "up", "dup"], &[], &[]),
    tool(&["pacman"], &["-S", "-Sy", "-Syu", "-Syyu"], &[], &[]),
    tool(&["debootstrap", "add-apt-repository", "playwright"], &["*"], &[], &[]),
    // Packages of languages.
    tool(&["pip", "pip3"], &["install", "download", "wheel"], &[], &["--no-index"]),
    tool(&["uv"], &["sync", "lock", "add", "pip"], &["run"], &["--offline", "--no-index"]),
    tool(&["poetry", "pipenv", "pdm"], &["install", "update", "lock", "sync", "add"], &[], &[]),
    tool(&["conda", "mamba", "micromamba"], &["install", "create", "update", "env"], &[], &["--offline"]),
    tool(&["npm"], &["install", "i", "ci", "add", "update", "install-ci-test"], &[], &["--offline"]),
    tool(&["pnpm"], &["install", "i", "add", "fetch", "update"], &["dlx"], &["--offline"]),
    tool(&["yarn"], &["", "install", "add", "upgrade"], &["dlx"], &["--offline"]),
    tool(&["npx", "bunx"], &[], &["*"], &["--offline", "--no-install"]),
    tool(&["bun"], &["install", "i", "add"], &[], &[]),
    tool(&["bower", "luarocks", "opam"], &["install"], &[], &[]),
    tool(&["cargo"], &["install", "fetch", "update", "add", "vendor", "generate-lockfile"], &["build", "b", "test", "t", "check", "run", "r", "rustc", "doc", "chef"], &["--offline", "--frozen"]),
    tool(&["rustup"], &["*"], &[], &[]),
    tool(&["go"], &["get", "mod"], &["build", "install", "test", "run", "generate", "vet"], &["-mod=vendor"]),
    tool(&["mvn", "mvnw", "mvnd"], &["dependency:go-offline", "dependency:resolve"], &["*"], &["-o", "--offline"]),
    tool(&["gradle", "gradlew"], &[], &["*"], &["--offline"]),
    tool(&["sbt", "lein", "cabal", "stack"], &["update"], &["*"], &[]),
    tool(&["dotnet"], &["restore", "tool"], &["build", "publish", "test", "run"], &["--no-restore"]),
    tool(&["nuget"], &["restore", "install"], &[], &[]),
    tool(&["gem"], &["install", "update"], &[], &["--local", "-l"]),
    tool(&["bundle", "bundler"], &["", "install", "update"], &[], &["--local"]),
    tool(&["composer"], &["install", "update", "require", "create-project"], &[], &[]),
    tool(&["cpan", "cpanm"], &["*"], &[], &[]),
    tool(&["mix"], &["deps.get", "local.hex", "local.rebar"], &[], &[]),
    tool(&["flutter", "dart"], &["pub"], &[], &["--offline"]),
    tool(&["swift"], &[], &["build", "package"], &[]),
    tool(&["helm"], &["pull", "repo", "dependency"], &[], &[]),
    // Files.
    tool(&["curl", "wget", "aria2c", "http", "ftp", "lftp"], &["*"], &[], &["localhost", "127.0.0.1", "file:", "--version"]),
    tool(&["git"], &["clone", "fetch", "pull", "ls-remote", "submodule"], &[], &["file:"]),
    tool(&["svn", "hg", "scp", "sftp"], &["*"], &[], &[]),
    tool(&["gpg", "gpg2", "apt-key"], &["--recv-keys", "--recv-key", "--keyserver", "adv"], &[], &[]),
];

/// What words stand before the program that really runs.
const WRAPPERS: [&str; 12] =
    ["sudo", "env", "exec", "time", "nice", "then", "do", "else", "if", "!", "(", "{"];

/// What a `RUN` wants; `text` is the whole instruction.
pub fn need_of(text: &str) -> Need {
    let rest = text.trim_start();
    let rest = rest.get(..3).filter(|head| head.eq_ignore_ascii_case("RUN")).map_or(rest, |_| &rest[3..]);
    let mut rest = rest.trim_start();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        if flag == "network=none" {
            return Need::Unknown;
        }
        rest = after.trim_start();
    }
    if let Ok(words) = serde_json::from_str::<Vec<String>>(rest) {
        return match words.as_slice() {
            [shell, flag, script] if shell.ends_with("sh") && flag.starts_with('-') => need_of(script),
            _ => need_of_words(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        };
    }
    commands(rest).iter().map(|words| need_of_words(words)).max().unwrap_or(Need::Unknown)
}

/// The simple commands of a script, as words. Quotes are taken off; what they hold apart is not needed here.
fn commands(script: &str) -> Vec<Vec<&str>> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| line.split(['&', '|', ';', '(', ')', '`', '{', '}']));
    parts
        .map(|part| {
            let words = part.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            words.filter(|word| !word.is_empty() && *word != "\\").collect()
        })
        .collect()
}

fn need_of_words(words: &[&str]) -> Need {
    let is_before = |word: &str| WRAPPERS.contains(&word) || is_assignment(word);
    let Some(at) = words.iter().position(|word| !is_before(word)) else { return Need::Unknown };
    let (name, args) = (base_name(words[at]), &words[at + 1..]);
    match (name, args) {
        ("sh" | "bash" | "ash" | "dash", [flag, script @ ..]) if flag.starts_with('-') => {
            return need_of_words(script);
        }
        // `python -m pip install`
        (name, ["-m", module, ..]) if name.starts_with("python") => return judge(module, &args[2..], words),
        ("corepack", [_, ..]) => return need_of_words(args),
        _ => {}
    }
    judge(name, args, words)
}

fn judge(name: &str, args: &[&str], words: &[&str]) -> Need {
    let Some(tool) = TOOLS.iter().find(|tool| tool.names.contains(&name)) else { return Need::Unknown };
    let is_home = |word: &&str| {
        tool.stays_home.iter().any(|home| word == home || (home.len() > 3 && word.contains(home)))
    };
    if args.iter().any(is_home) {
        return Need::Unknown;
    }
    // Options may stand before the word that says what to do, some with a value: the first known word counts.
    let first = args.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default();
    let says = |known: &[&str]| {
        known.contains(&"*")
            || (first.is_empty() && known.contains(&""))
            || args.iter().take(4).any(|word| !word.is_empty() && known.contains(word))
    };
    let shown = || words.iter().take(4).copied().collect::<Vec<_>>().join(" ");
    if says(tool.fetches) {
        Need::Yes(shown())
    } else if says(tool.may_fetch) {
        Need::Perhaps(shown())
    } else {
        Need::Unknown
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_and_downloads_are_known_by_name() {
        let yes = [
            "RUN apt-get update && apt-get install -y --no-install-recommends curl",
            "RUN apk add --no-cache git",
            "RUN apk --no-cache add git",
            "RUN set -eux; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y nginx",
            "RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt",
            "RUN python3 -m pip install -r requirements.txt",
            "RUN [\"pip\", \"install\", \"flask\"]",
            "RUN [\"/bin/sh\", \"-c\", \"npm ci\"]",
            "RUN npm ci",
            "RUN yarn",
            "RUN yarn install --frozen-lockfile",
            "RUN corepack pnpm install",
            "RUN cargo install ripgrep",
            "RUN go mod download",
            "RUN /usr/bin/curl -fsSL https://x.example/y.tgz | tar xz",
            "RUN if true; then wget https://x.example/y; fi",
            "RUN git clone https://x.example/y.git",
            "RUN gem install bundler",
            "RUN bundle install",
            "RUN dotnet restore",
            "RUN ./mvnw dependency:go-offline",
            "RUN bash -c 'curl https://x.example'",
            "RUN yum -y install nginx",
            "RUN cat <<EOF | sh\napt-get update\nEOF",
        ];
        for text in yes {
            assert!(matches!(need_of(text), Need::Yes(_)), "{text}: {:?}", need_of(text));
        }
    }

    #[test]
    fn build_tools_may_fetch() {
        for text in [
            "RUN cargo build --release --locked",
            "RUN go build ./...",
            "RUN mvn -B package",
            "RUN ./gradlew bootJar",
            "RUN npx tsc",
            "RUN dotnet publish -c Release",
        ] {
            assert!(matches!(need_of(text), Need::Perhaps(_)), "{text}: {:?}", need_of(text));
        }
    }

    #[test]
    fn what_stays_at_home_or_is_not_known_is_not_guessed_at() {
        for text in [
            "RUN npm run build",
            "RUN npm ci --offline",
            "RUN pip install --no-index --find-links=/wheels flask",
            "RUN cargo build --offline",
            "RUN go build -mod=vendor ./...",
            "RUN --network=none pip install x",
            "RUN apt-get clean && rm -rf /var/lib/apt/lists/*",
            "RUN adduser --system app",
            "RUN curl http://127.0.0.1:8080/health",
            "RUN make install",
            "RUN echo apt-get install",
            "RUN mvn -o package",
            "RUN # npm ci\nmake",
            "RUN",
            "RUN \u{e9}\u{e9}",
        ] {
            assert_eq!(need_of(text), Need::Unknown, "{text}");
        }
    }

    #[test]
    fn the_words_that_say_so_are_told() {
        assert_eq!(
            need_of("RUN cp a b && pip install -r requirements.txt --quiet").to_string(),
            "`pip install -r requirements.txt` needs a network"
        );
    }
}
