//! Names of the labels that we put on images.

/// The fingerprint: digest of everything that the image was made of.
pub const FINGERPRINT: &str = "dev.xtask.fingerprint";
/// The fingerprint's parts as compact JSON, so that a miss can be explained.
pub const PARTS: &str = "dev.xtask.parts";
/// The platform that was asked for; engines do not list it.
pub const PLATFORM: &str = "dev.xtask.platform";
/// On a kept stage: what it was made of, instruction by instruction, as compact JSON.
pub const LINEAGE: &str = "dev.xtask.lineage";
/// Which generation of builders made a kept stage: another one runs its instructions again.
pub const BUILDER: &str = "dev.xtask.builder";
/// On a kept stage: which build of its image it was kept beside.
pub const KEPT_BESIDE: &str = "dev.xtask.kept-beside";
/// Which tree an image or a container was made for, as `tree::identity` tells trees apart. Images of other trees are
/// never cleaned away.
pub const TREE: &str = "dev.xtask.tree";
/// How a base image was made that no registry gave.
pub const RECIPE: &str = "dev.xtask.recipe";
/// On an image that stands in for a release: `sample`.
pub const ARTIFACT: &str = "dev.xtask.artifact";
/// On containers of ours: the run that made them.
pub const RUN: &str = "dev.xtask.run";
/// On containers of ours: the process of that run, as `PID@STARTED`.
pub const OWNER: &str = "dev.xtask.owner";
/// On containers that `run` started: of which image.
pub const RUN_OF: &str = "dev.xtask.run-of";
/// On containers of ours that were to stay (`base-images e2e --keep`).
pub const KEPT: &str = "dev.xtask.kept";

/// The image's name, whatever its title is.
pub const IMAGE: &str = "dev.xtask.image";

/// What the names of OCI's own labels begin with; of these the author's win.
pub const OCI: &str = "org.opencontainers.image.";
/// What an image is called.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Which version it is.
pub const VERSION: &str = "org.opencontainers.image.version";
/// When it was made, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The commit that it was made of.
pub const REVISION: &str = "org.opencontainers.image.revision";

/// The old scripts' label for the fingerprint.
pub const BUILD_HASH: &str = "build.hash";
/// The old scripts' label for the run.
pub const BUILD_ID: &str = "build.id";
/// The old scripts' label for the time, RFC 3339.
pub const BUILD_TIMESTAMP: &str = "build.timestamp";
/// The old scripts' label for why it was built.
pub const BUILD_REASON: &str = "build.reason";
