//! The nouns that every part of the program speaks in: plain data, serde, no effects.
//!
//! Nothing in here knows tokio, an engine, the file system or the environment; everything else may use it. What is said
//! in Dockerfiles (references, platforms, findings with their places) is the crate `dockerfile`'s and handed on here.

mod alias_rules;
mod artifact;
mod builder_cache;
pub mod bundle;
mod catalogue;
mod checks;
mod container;
mod context;
mod details;
mod error_kind;
mod event;
mod exit_code;
mod failing;
mod failure;
mod identity;
mod image;
mod image_id;
mod image_lock;
mod index;
pub mod labels;
mod layers;
mod local_registry;
mod observed;
mod phase;
mod plan;
pub mod program;
mod reason;
mod registry_prefix;
mod secret;
mod smoke;
mod socket;
mod stand_in;
pub mod suggest;
mod told;
mod upstreams;

pub use alias_rules::{AliasNames, AliasRules, Originals};
pub use artifact::{ArtifactKind, ArtifactSpec};
pub use builder_cache::{BuilderCache, BuilderCaches, CacheKind, CacheWay, CacheWays};
pub use bundle::BundleStep;
pub use catalogue::KindEntry;
pub use checks::{Checks, Passed, TestCommand};
pub use container::{ContainerId, ContainerSpec, ContainerState, ExecOutput, Health, PublishedPort};
pub use context::{ContextFile, ContextFileKind, ContextFiles, Modes, path_order, relative};
pub use details::{Healthcheck, ImageDetails};
pub use dockerfile::{
    BaseImage, Brought, Diagnostic, Digest, InputKind, InputPattern, ParseDigestError, ParsePlatformError,
    ParseReferenceError, Platform, Reference, SecretKind, SecretMount, Severity, Triggers,
};
pub use error_kind::ErrorKind;
pub use event::{Event, EventKind, LogStream, Outcome, RunStats, Unit};
pub use exit_code::ExitCode;
pub use failure::Failure;
pub use identity::{Identity, ImageConfig, RootFs, RunConfig, RunHealthcheck, or_default, sha256};
pub use image::{
    BaseImageFacts, BuildGroup, BuildTarget, FurtherTag, Image, ImageIndex, ImageKind, ImageName,
    ImageSource, ImageState, LayoutContext, LocalImage, suffix,
};
pub use image_id::ImageId;
pub use image_lock::{ImageLock, LockedImage};
pub use index::{CONTAINERD_NAME, INDEX_TYPE, IndexSpec, IndexVariant, LAYOUT_VERSION, REF_NAME};
pub use layers::LayerSize;
pub use local_registry::{Lifetime, RegistrySpec};
pub use observed::{Capabilities, Indexes, Keeps, Network, NetworkVerdict, Observed};
pub use phase::Phase;
pub use plan::{
    Attestations, BuildSpec, ComposeCall, Expectation, FailFast, InlineCache, OnFailure, Output, Plan,
    Provenance, PullSource, PushProof, Recipe, RemoveFirst, Replan, Skipped, Stage, Step, StepId, StepKind,
    TestSpec,
};
pub use reason::{Change, Reason};
pub use registry_prefix::RegistryPrefix;
pub use secret::{BuildSecrets, Hidden, MAX_SECRET, SecretSource, SshSource};
pub use smoke::{
    Afterwards, Expected, HttpAnswer, HttpAsk, SmokeCheck, SmokeResult, SmokeSpec, SmokeVerdict, Stopped,
};
pub use socket::{SOCKET_RIGHTS, denied_socket};
pub use stand_in::{stand_in, stands_for};
pub use told::{counted, told};
pub use upstreams::Upstreams;
