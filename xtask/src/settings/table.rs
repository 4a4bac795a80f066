//! The one table of settings: key, flag, variables, default and meaning of each. `docs/config.md` and the reading
//! of variables come from it; a further setting is one line here, one field in [`Layer`] and one in `Config`.

use std::fmt::Write as _;
use std::str::FromStr;

use super::layer::{Layer, parse_bool};

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key in the settings files.
    pub key: &'static str,
    /// How it is spelled on the command line; empty where only files set it.
    pub flag: &'static str,
    /// The `XTASK_*` variable; empty where only files set it.
    pub variable: &'static str,
    /// The variable of the old scripts, if it had one.
    pub old: &'static str,
    /// What holds when nobody says anything, in words.
    pub default: &'static str,
    /// One sentence without a period.
    pub meaning: &'static str,
    /// Takes a variable's text; none where only files set it.
    set: Option<Take>,
    /// What a text that it cannot take means.
    strictness: Strictness,
}

type Take = fn(&mut Layer, &str) -> Result<(), String>;

/// What a variable's unusable value means.
#[derive(Clone, Copy, Debug)]
enum Strictness {
    /// An error.
    Refuse,
    /// The variable of the old scripts has a name that another program uses too: what is that one's is passed over.
    PassOver(fn(&str) -> bool),
}

/// A text that a setting cannot take: why.
pub(super) struct Refused(pub String);

impl Setting {
    /// The variables that set it, the preferred one first.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        [self.variable, self.old].into_iter().filter(|name| !name.is_empty())
    }

    /// Puts a variable's text into a layer; says whether it was put there.
    pub(super) fn take(&self, layer: &mut Layer, variable: &str, text: &str) -> Result<bool, Refused> {
        let Some(set) = self.set else { return Ok(false) };
        match set(layer, text) {
            Ok(()) => Ok(true),
            Err(why) => match self.strictness {
                Strictness::PassOver(is_foreign) if variable == self.old && is_foreign(text) => Ok(false),
                _ => Err(Refused(why)),
            },
        }
    }

    /// Whether an empty variable says something (`INTERNAL_REGISTRY=` means none), rather than nothing.
    pub(super) fn is_set_by_empty(&self) -> bool {
        matches!(self.key, "registry" | "internal_registry" | "prefix" | "cache_to")
    }
}

const fn both(
    key: &'static str,
    [flag, variable, old]: [&'static str; 3],
    default: &'static str,
    set: Take,
    meaning: &'static str,
) -> Setting {
    Setting { key, flag, variable, old, default, meaning, set: Some(set), strictness: Strictness::Refuse }
}

const fn file_only(key: &'static str, flag: &'static str, meaning: &'static str) -> Setting {
    let strictness = Strictness::Refuse;
    Setting { key, flag, variable: "", old: "", default: "none", meaning, set: None, strictness }
}

const fn generic_name(setting: Setting, is_foreign: fn(&str) -> bool) -> Setting {
    Setting { strictness: Strictness::PassOver(is_foreign), ..setting }
}

/// GNU parallel takes options out of `PARALLEL`; a negative number is none.
fn is_options(text: &str) -> bool {
    text.trim().strip_prefix('-').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// All settings, in the order in which the docs show them.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    both("services", ["", "XTASK_SERVICES", ""], "`src/*`", |l, t| list(&mut l.services, t), "Globs of service folders, or of their Dockerfiles, relative to the root"),
    both("base_images", ["", "XTASK_BASE_IMAGES", ""], "`docker/base-images/*`", |l, t| list(&mut l.base_images, t), "Globs of base-image folders"),
    both("name", ["", "XTASK_NAME", ""], "`folder`", |l, t| put(&mut l.name, t), "How services are called that say nothing of it: `folder`, `path` (all folders from where a glob begins), or `template {parent}-{folder}`, also with `{path}`"),
    both("prefix", ["--prefix", "XTASK_PREFIX", ""], "empty", |l, t| put(&mut l.prefix, t), "What every image name begins with"),
    both("tag", ["--tag", "XTASK_TAG", "IMAGE_TAG"], "`latest`", |l, t| put(&mut l.tag, t), "The tag of what is built; `build-all v1` says it too"),
    both("registry", ["--registry", "XTASK_REGISTRY", ""], "none", |l, t| put(&mut l.registry, t), "Images are named after this registry; the plain name stays as a local alias"),
    both("internal_registry", ["--internal-registry", "XTASK_INTERNAL_REGISTRY", "INTERNAL_REGISTRY"], "none", |l, t| put(&mut l.internal_registry, t), "The one registry that answers inside the company network; empty means none"),
    both("network", ["--network", "XTASK_NETWORK", "AI_INFRA_NETWORK_ENV"], "`auto`", |l, t| put(&mut l.network, t), "`internal`, `external`, or `auto` to probe"),
    both("offline", ["--offline", "XTASK_OFFLINE", ""], "`false`", |l, t| flag(&mut l.offline, t), "Never touch a network"),
    both("platform", ["--platform", "XTASK_PLATFORM", ""], "the engine's", |l, t| put(&mut l.platform, t), "What images run on, such as `linux/amd64`; several make an index of each image"),
    both("builder", ["--builder", "XTASK_BUILDER", ""], "the engine's own", |l, t| put(&mut l.builder, t), "Where images are built: an endpoint, or an instance of buildx ([builders.md](builders.md)); `default` is the engine's own"),
    both("provenance", ["--provenance", "XTASK_PROVENANCE", ""], "none", |l, t| put(&mut l.provenance, t), "Each image states how it was built, in its index: `min`, or `max` with build args and the Dockerfile"),
    both("sbom", ["--sbom", "XTASK_SBOM", ""], "`false`", |l, t| flag(&mut l.sbom, t), "Each image states what is in it (`docker/buildkit-syft-scanner` makes the list)"),
    both("reproducible", ["--reproducible", "XTASK_REPRODUCIBLE", ""], "`false`", |l, t| flag(&mut l.reproducible, t), "The same sources give the same image, bit by bit: all times in it are `SOURCE_DATE_EPOCH`, else the commit's, and labels tell nothing of the run ([builders.md](builders.md))"),
    both("context", ["", "XTASK_CONTEXT", ""], "`auto`", |l, t| put(&mut l.context, t), "Where build contexts lie: `service`, `root`, or `auto` for the one that has more of the COPY sources"),
    both("modes", ["", "XTASK_MODES", ""], "`portable`", |l, t| put(&mut l.modes, t), "Which permission bits of files count and are sent: `portable` leaves out the write bits of group and others, which the umask of whoever cloned decides; `exact` takes all"),
    both("secret_args", ["", "XTASK_SECRET_ARGS", ""], "`warn`", |l, t| put(&mut l.secret_args, t), "Build args that look like secrets, and so would stay in an image's history: `warn` or `refuse`"),
    both("jobs", ["--jobs", "XTASK_JOBS", "PARALLEL_JOBS"], "by the machine", |l, t| put(&mut l.jobs, t), "Builds at the same time"),
    both("pulls_per_registry", ["", "XTASK_PULLS_PER_REGISTRY", ""], "`3`", |l, t| put(&mut l.pulls_per_registry, t), "Pulls at the same time from one registry"),
    both("retries", ["--retries", "XTASK_RETRIES", ""], "`3`", |l, t| number(&mut l.retries, t), "Further tries after a transient failure"),
    both("stall", ["", "XTASK_STALL", ""], "`180`", |l, t| put(&mut l.stall, t), "Seconds without anything from a registry or a download after which a try is over"),
    both("strict_prefetch", ["--strict-prefetch", "XTASK_STRICT_PREFETCH", ""], "`false`", |l, t| flag(&mut l.strict_prefetch, t), "A failed pull fails the run"),
    both("skip_prefetch", ["--no-prefetch", "XTASK_SKIP_PREFETCH", "SKIP_PREFETCH"], "`false`", |l, t| flag(&mut l.skip_prefetch, t), "Pull nothing in advance"),
    both("force", ["--force", "XTASK_FORCE", "FORCE_REBUILD"], "`false`", |l, t| flag(&mut l.force, t), "Rebuild everything, without the builder's cache"),
    both("skip_cache_check", ["--skip-cache-check", "XTASK_SKIP_CACHE_CHECK", "SKIP_CACHE_CHECK"], "`false`", |l, t| flag(&mut l.skip_cache_check, t), "Rebuild without comparing fingerprints, with the builder's cache"),
    both("locked", ["--locked", "XTASK_LOCKED", ""], "`false`", |l, t| flag(&mut l.locked, t), "Build on nothing but what `images.lock` says"),
    both("images_lock", ["", "XTASK_IMAGES_LOCK", ""], "`images.lock`", |l, t| put(&mut l.images_lock, t), "The file that `lock` writes, relative to the root"),
    both("cache_from", ["--cache-from", "XTASK_CACHE_FROM", ""], "none", |l, t| put(&mut l.cache_from, t), "Registries whose paths hold build caches, such as `harbor.example.com/ci/cache`, and the builder's own (`type=registry,ref=…`, `type=gha`, …); builds look there"),
    both("cache_to", ["--cache-to", "XTASK_CACHE_TO", ""], "none", |l, t| put(&mut l.cache_to, t), "The registry and path that get the stages of what was built, as cache, and the builder's own (`type=registry,ref=…,mode=max`); empty means none"),
    both("keep_runs", ["--keep-runs", "XTASK_KEEP_RUNS", ""], "`50`", |l, t| put(&mut l.keep_runs, t), "Records of runs that are kept below `target/xtask/runs`, the newest ones"),
    both("templates", ["", "XTASK_TEMPLATES", ""], "empty", |l, t| list(&mut l.templates, t), "Globs of templates beyond those in the services' folders and directly at the root"),
    both("templates_skip", ["", "XTASK_TEMPLATES_SKIP", ""], "empty", |l, t| list(&mut l.templates_skip, t), "Globs of `.tpl` and `.j2` files, and of folders, that are another program's"),
    both("compose", ["", "XTASK_COMPOSE", ""], "what compose finds at the root", |l, t| list(&mut l.compose, t), "Compose files, relative to the root: what they start goes into a bundle, and `rebuild --up` starts it"),
    both("definitions", ["", "XTASK_DEFINITIONS", ""], "none", |l, t| list(&mut l.definitions, t), "Compose and bake files whose images are images of the tree ([definitions.md](definitions.md)): `compose.yaml`, `docker-bake.hcl`, `docker-bake.hcl#GROUP`"),
    both("dollar_names", ["", "XTASK_DOLLAR_NAMES", ""], "empty", |l, t| list(&mut l.dollar_names, t), "Names for which templates have `${NAME}` replaced too"),
    generic_name(both("verbose", ["--verbose", "XTASK_VERBOSE", "DEBUG"], "`false`", |l, t| flag(&mut l.verbose, t), "Say more; a `DEBUG` that is neither yes nor no belongs to another program and is passed over"), |_| true),
    both("base_image.name", ["", "XTASK_BASE_IMAGE_NAME", ""], "`fit-framework`", |l, t| put(&mut l.base_image.name, t), "What base images are called: `NAME:VERSION-OS`, `NAME:OS` and `NAME:latest-OS`"),
    both("base_image.version", ["", "XTASK_BASE_IMAGE_VERSION", ""], "the Dockerfiles' `ARG FIT_VERSION=`", |l, t| put(&mut l.base_image.version, t), "The default version of the base images, the only one that gets `latest-OS`"),
    both("base_image.versions", ["--version", "XTASK_FIT_VERSION", "FIT_VERSION"], "the default version", |l, t| list(&mut l.base_image.versions, t), "Which versions of the base images are built"),
    both("base_image.only", ["--os", "XTASK_ONLY_OS", "ONLY_OS"], "all", |l, t| list(&mut l.base_image.only, t), "The systems that `base-images` is about"),
    both("base_image.skip", ["--skip-os", "XTASK_SKIP_OS", "SKIP_OS"], "empty", |l, t| list(&mut l.base_image.skip, t), "The systems that it is not about"),
    generic_name(both("base_image.jobs", ["--jobs", "XTASK_PARALLEL", "PARALLEL"], "`2`", |l, t| put(&mut l.base_image.jobs, t), "Builds of base images at the same time; a `PARALLEL` that begins with `-` holds options of GNU parallel and is passed over"), is_options),
    both("base_image.push", ["--push", "XTASK_PUSH_IMAGE", "PUSH_IMAGE"], "`false`", |l, t| flag(&mut l.base_image.push, t), "Whether `base-images` pushes what it built, and what is up to date"),
    both("base_image.docker_args", ["", "XTASK_BUILD_ARGS", "BUILD_ARGS"], "empty", |l, t| put(&mut l.base_image.docker_args, t), "Flags of `docker build` for base images, split as a shell splits words: `--no-cache`, `--pull`, `--build-arg`, `--label`, `--network`, `--target`"),
    both("artifact.url", ["--artifact-url", "XTASK_ARTIFACT_URL", ""], "the framework's release on GitHub", |l, t| put(&mut l.artifact.url, t), "Where the base images' artifact comes from; `{version}` is replaced, and `file://…` asks for the sample"),
    both("artifact.mirrors", ["", "XTASK_ARTIFACT_MIRRORS", ""], "empty", |l, t| list(&mut l.artifact.mirrors, t), "What the artifact's path is looked for under, in order, before its own host is asked"),
    both("artifact.lock", ["", "XTASK_ARTIFACT_LOCK", ""], "`docker/base-images/artifacts.lock`", |l, t| put(&mut l.artifact.lock, t), "The file that remembers the artifacts' digests"),
    both("artifact.cache", ["", "XTASK_ARTIFACT_CACHE", ""], "`xtask/artifacts` in the user's caches; a sample stays in `target/xtask`", |l, t| put(&mut l.artifact.cache, t), "Where artifacts are kept, for all trees of one user"),
    both("artifact.sample", ["--sample-artifact", "XTASK_ARTIFACT_SAMPLE", ""], "`false`", |l, t| flag(&mut l.artifact.sample, t), "Put the sample into base images in place of the release"),
    both("registry_port", ["--port", "XTASK_REGISTRY_PORT", "REGISTRY_PORT"], "`5000`, in `e2e` `15000`", |l, t| put(&mut l.registry_port, t), "Where a registry on this machine listens"),
    file_only("build_args", "--build-arg", "Table of build args for every image; `service.toml` and the flag win"),
    file_only("secrets", "--secret", "Table: ID of `RUN --mount=type=secret` to `{ file = \"PATH\" }` or `{ env = \"NAME\" }`; `service.toml` and the flag win ([secrets.md](secrets.md))"),
    file_only("ssh", "--ssh", "Table: ID of `RUN --mount=type=ssh` to the path of an agent's socket or of a key; empty is the user's own agent"),
    file_only("contexts", "", "Table: name in Dockerfiles to what it stands for, `docker-image://REF`, `target:SERVICE`, `oci-layout://FOLDER[:TAG]` or a folder relative to the root; `service.toml` wins"),
    file_only("variables", "", "Table of names that templates may ask for beyond those of `.env`: a value, `{ env = \"NAME\" }` or `{ command = \"…\" }`"),
    file_only("mirrors", "", "Table: registry to the mirrors that are tried before it, in order"),
    file_only("aliases", "", "Table: registry to the path prefix that tells its aliases from those of other registries"),
    file_only("recipes", "", "Table: base image to the way to make it when no registry gives it (`--bootstrap`)"),
];

/// The table as `docs/config.md` shows it.
pub fn settings_table() -> String {
    let mut table =
        "| key | flag | variable | old variable | default | meaning |\n|---|---|---|---|---|---|\n"
            .to_owned();
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    for setting in SETTINGS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            code(setting.key),
            code(setting.flag),
            code(setting.variable),
            code(setting.old),
            setting.default,
            setting.meaning
        );
    }
    table
}

fn put<T: FromStr>(slot: &mut Option<T>, text: &str) -> Result<(), String>
where
    T::Err: ToString,
{
    let text = text.trim();
    *slot = Some(text.parse().map_err(|error: T::Err| {
        let why = error.to_string();
        if why.contains(text) { why } else { format!("`{text}`: {why}") }
    })?);
    Ok(())
}

fn flag(slot: &mut Option<bool>, text: &str) -> Result<(), String> {
    *slot = Some(parse_bool(text.trim())?);
    Ok(())
}

fn number(slot: &mut Option<u32>, text: &str) -> Result<(), String> {
    let text = text.trim();
    *slot = Some(text.parse().map_err(|_| format!("`{text}` is not a number of 0 or more"))?);
    Ok(())
}

fn list<T: FromStr>(slot: &mut Option<Vec<T>>, text: &str) -> Result<(), String>
where
    T::Err: ToString,
{
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    *slot =
        Some(items.map(|item| item.parse().map_err(|e: T::Err| e.to_string())).collect::<Result<_, _>>()?);
    Ok(())
}
