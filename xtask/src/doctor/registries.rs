//! The checks of registries: whether each that matters answers, and whether it takes our credentials. Pure.

use super::Verdict;
use super::facts::{Facts, Login, RegistryAnswer, RegistryFacts, Role, Source};
use super::judge::{Finding, count};

/// One finding a registry.
pub(super) fn answers(facts: &Facts) -> Vec<Finding> {
    facts.registries.iter().map(|registry| answer(facts, registry).of(&registry.domain)).collect()
}

fn answer(facts: &Facts, registry: &RegistryFacts) -> Finding {
    let purpose = purpose(registry);
    let cause = match &registry.answer {
        RegistryAnswer::NotAsked(why) => return Finding::new(Verdict::Skipped, format!("{purpose}: {why}")),
        RegistryAnswer::Status { status, took } => {
            return Finding::new(
                Verdict::Ok,
                format!("{purpose}: answered {status} in {} ms", took.as_millis()),
            );
        }
        RegistryAnswer::None(cause) => cause,
    };
    let seen = format!("{purpose}: no answer: {cause}");
    let warning = |seen: String| Finding::new(Verdict::Warning, seen);
    let stand_in = facts.registries.iter().find(|other| {
        other.role == Role::Mirror(registry.domain.clone())
            && matches!(other.answer, RegistryAnswer::Status { .. })
    });
    if let Some(mirror) = stand_in {
        return warning(format!("{seen}; its mirror {} answers", mirror.domain))
            .fix("nothing, while what is needed is in the mirror");
    }
    if registry.all_here == Some(true) && registry.role == Role::Origin {
        return warning(format!("{seen}; all that is needed of it is here"))
            .fix("nothing, until a base image changes");
    }
    // With the cable out nothing fails for it: what is here already can be built.
    let verdict = match registry.role {
        Role::Mirror(_) => Verdict::Warning,
        _ if facts.network.nobody_answered => Verdict::Warning,
        Role::Internal | Role::Origin | Role::Push => Verdict::Failed,
    };
    let host = if registry.domain == "docker.io" { "registry-1.docker.io" } else { &registry.domain };
    Finding::new(verdict, seen).fix(match registry.role {
        Role::Mirror(_) => "see whether `mirrors` in .config/xtask.toml is right".to_owned(),
        Role::Internal => {
            "see whether INTERNAL_REGISTRY is right, and whether this is the company network".to_owned()
        }
        Role::Origin | Role::Push => format!(
            "`curl -i https://{host}/v2/` shows the same; behind a proxy set HTTPS_PROXY, or name a mirror in `mirrors`"
        ),
    })
}

fn purpose(registry: &RegistryFacts) -> String {
    match &registry.role {
        Role::Origin if registry.images.is_empty() => "public".to_owned(),
        Role::Origin => count(registry.images.len(), "base image"),
        Role::Internal => "internal registry".to_owned(),
        Role::Mirror(of) => format!("mirror of {of}"),
        Role::Push => "images are pushed there".to_owned(),
    }
}

/// One finding a registry that was asked, or that has credentials.
pub(super) fn credentials(facts: &Facts) -> Vec<Finding> {
    let concerns = |registry: &&RegistryFacts| {
        registry.source != Source::Nowhere || matches!(registry.answer, RegistryAnswer::Status { .. })
    };
    facts.registries.iter().filter(concerns).map(|registry| login(registry).of(&registry.domain)).collect()
}

fn login(registry: &RegistryFacts) -> Finding {
    let new = |verdict, evidence: String| Finding::new(verdict, evidence);
    let again = format!("`docker login {}`", registry.domain);
    let source = match &registry.source {
        Source::Nowhere => "none stored".to_owned(),
        Source::File => "from docker's config.json".to_owned(),
        Source::Helper { program, setting, is_there: true } => format!("from {program} ({setting})"),
        Source::Helper { program, setting, is_there: false } => {
            let fix =
                format!("install {program}, or take `{setting}` out of docker's config.json and run {again}");
            return new(
                Verdict::Warning,
                format!("{program} ({setting}) is not on this machine, so nobody logs in"),
            )
            .fix(fix);
        }
    };
    match &registry.login {
        Login::NotTried => new(Verdict::Skipped, format!("{source}; not tried")),
        Login::NotNeeded => new(Verdict::Ok, format!("{source}; the registry asks for none")),
        Login::Accepted => new(Verdict::Ok, format!("{source}, accepted")),
        Login::Nothing { wants_password: true } => {
            new(Verdict::Warning, format!("{source}, and the registry asks for a password")).fix(again)
        }
        Login::Nothing { wants_password: false } if registry.role == Role::Push => {
            new(Verdict::Warning, format!("{source}; a push needs some")).fix(again)
        }
        Login::Nothing { wants_password: false } if registry.source == Source::Nowhere => {
            new(Verdict::Ok, format!("{source}; pulls are anonymous"))
        }
        Login::Nothing { wants_password: false } => {
            new(Verdict::Warning, format!("{source}, which has none for this registry")).fix(again)
        }
        Login::Refused(status) => new(Verdict::Failed, format!("{source}, refused with status {status}"))
            .fix(format!("{again} again")),
        Login::Failed(why) => new(Verdict::Warning, format!("{source}; {why}")).fix(again),
    }
}
