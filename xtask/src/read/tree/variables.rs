//! EFFECT: the names that templates may ask for beyond those of `.env`: the settings' `[variables]`.
//!
//! In: the settings, the templates. Out: a value a name, or why it has none. A command is run only when some template
//! asks for its name. Decides nothing about templates.

use std::collections::BTreeMap;

use crate::host;
use crate::read::template::{TemplateSource, Variables};
use crate::settings::{Config, Variable};

/// What the settings' variables came to.
#[derive(Debug, Default)]
pub(super) struct Computed {
    /// What commands printed.
    pub computed: BTreeMap<String, String>,
    /// Names without a value, each with why.
    unset: BTreeMap<String, String>,
}

/// Runs the commands whose names are asked for.
pub(super) fn of<'a>(config: &Config, templates: impl IntoIterator<Item = &'a TemplateSource>) -> Computed {
    let mut found = Computed::default();
    let texts: Vec<&str> = templates.into_iter().map(|template| template.text.as_str()).collect();
    for (name, variable) in &config.variables {
        if in_dotenv(config, name) || !texts.iter().any(|text| text.contains(name.as_str())) {
            continue;
        }
        match variable {
            Variable::Value(_) => {}
            Variable::Env(of) => {
                let why = format!("`[variables]` takes it from {of}, which is not set in the environment");
                found.unset.insert(name.clone(), why);
            }
            Variable::Command(command) => match host::ask(command, &config.root) {
                Ok(value) => drop(found.computed.insert(name.clone(), value)),
                Err(why) => drop(found.unset.insert(name.clone(), why)),
            },
        }
    }
    found
}

impl Computed {
    /// All names. What `.env` says counts, unless it is empty.
    pub(super) fn names<'a>(&'a self, config: &'a Config) -> Variables<'a> {
        let mut values: BTreeMap<&str, &str> =
            config.dotenv.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let fixed = config.variables.iter().filter_map(|(name, variable)| match variable {
            Variable::Value(value) => Some((name.as_str(), value.as_str())),
            Variable::Env(_) | Variable::Command(_) => None,
        });
        let computed = self.computed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        values.extend(fixed.chain(computed).filter(|(name, _)| !in_dotenv(config, name)));
        let unset = self.unset.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        Variables { values, unset }
    }
}

fn in_dotenv(config: &Config, name: &str) -> bool {
    config.dotenv.iter().any(|(known, value)| known == name && !value.is_empty())
}
