//! Pure: a GitHub workflow that builds the images.

use super::{Found, Wanted, thin};

const HEAD: &str = "\
# Written by init. docs/ci.md of xtask-images says how to share the work among machines and how to keep caches.
name: images
on:
  push:
    branches: [main]
  pull_request:
permissions:
  contents: read
jobs:
  images:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@d23441a48e516b6c34aea4fa41551a30e30af803 # v6.1.0
";

/// The workflow: by the team's own `xtask` where there is one, else by the installed program.
pub fn text(found: &Found, wanted: &Wanted) -> String {
    let has_thin = wanted.thin.is_some() || found.texts.contains_key(thin::MANIFEST);
    let (install, program) = if has_thin {
        ("", "cargo xtask")
    } else {
        ("      - run: cargo install --locked xtask-images\n", "xtask-images")
    };
    format!("{HEAD}{install}      - run: {program} build-all\n")
}
