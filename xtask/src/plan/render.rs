//! Plans the render phase: every template to its output.
//!
//! In: the templates with their texts and what stands where their outputs go, and what is known of that. Out: the files
//! to write, the rendered texts (so that later phases read what will be there), and what is wrong, output by output.
//! Pure: nothing is read or written here.

use std::collections::BTreeMap;

use crate::model::{Diagnostic, Phase, Reason, Skipped, Step, StepKind};
use crate::read::template::{Claim, Rendered, TemplateSource, Variables, asked_names, render};
use crate::settings::Config;

/// What rendering comes to.
#[derive(Clone, Debug, Default)]
pub struct RenderPlan {
    /// Outputs that are missing or differ.
    pub steps: Vec<Step>,
    /// Outputs that are as they should be, and what is left alone.
    pub skipped: Vec<Skipped>,
    /// What every output holds once the steps are done, by path relative to the root. Read this instead of the disk.
    pub outputs: BTreeMap<String, Rendered>,
    /// Outputs that cannot be made, by path, each with why. What reads one of them cannot be built.
    pub broken: BTreeMap<String, Vec<Diagnostic>>,
    /// Why outputs are not made that nobody promised, by path; each is worth a word where one is looked for.
    pub unmade: BTreeMap<String, String>,
    /// What is worth knowing.
    pub warnings: Vec<Diagnostic>,
    /// Templates that are none of ours, or whose output is left as it is; by path.
    pub left: Vec<String>,
}

impl RenderPlan {
    /// What is wrong with templates.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.broken.values().flatten()
    }
}

/// What stands where outputs go.
pub struct Existing<'a> {
    /// Whether these bytes at this path are what rendering came to before.
    pub is_rendered: &'a dyn Fn(&str, &str) -> bool,
    /// Whether anything was ever rendered there.
    pub was_rendered: &'a dyn Fn(&str) -> bool,
    /// Whether the repository has the file.
    pub is_committed: &'a dyn Fn(&str) -> bool,
}

/// Renders all templates.
pub fn plan_render<'a>(
    templates: impl IntoIterator<Item = &'a TemplateSource>,
    variables: &Variables<'_>,
    config: &Config,
    existing: &Existing<'_>,
) -> RenderPlan {
    let mut plan = RenderPlan::default();
    let mut by_output: BTreeMap<&str, Vec<&TemplateSource>> = BTreeMap::new();
    for template in templates {
        let same = by_output.entry(&template.output).or_default();
        // A service's folder may also be named by the settings' globs.
        if !same.iter().any(|other| other.path == template.path)
            && is_ours(template, variables, config, existing, &mut plan)
        {
            same.push(template);
        }
    }
    for (output, sources) in by_output {
        let template = match sources.as_slice() {
            [] => continue,
            [template] => template,
            sources => {
                let clashes = sources.iter().map(|template| clash(template, sources));
                plan.broken.insert(output.to_owned(), clashes.collect());
                continue;
            }
        };
        match rendered(template, variables, config) {
            Ok(text) if is_somebody_elses(template, &text, config, existing) => {
                leave(&mut plan, template, &text)
            }
            Ok(text) => add_output(&mut plan, template, text),
            Err(problem) => drop(plan.broken.insert(output.to_owned(), vec![problem])),
        }
    }
    plan
}

fn rendered(
    template: &TemplateSource,
    variables: &Variables<'_>,
    config: &Config,
) -> Result<String, Diagnostic> {
    if matches!(template.output.as_str(), ".env" | ".env.example") {
        let message =
            format!("renders to `{}`, which sync-config writes; rename the template", template.output);
        return Err(Diagnostic::error(&template.path, 0, message));
    }
    if let Some(why) = &template.in_the_way {
        return Err(Diagnostic::error(&template.path, 0, why));
    }
    render(&template.path, &template.text, variables, &config.dollar_names)
}

/// Whether a template is ours to render; says what is left alone, and why.
fn is_ours(
    template: &TemplateSource,
    variables: &Variables<'_>,
    config: &Config,
    existing: &Existing<'_>,
    plan: &mut RenderPlan,
) -> bool {
    let is_known = |name: &str| variables.values.contains_key(name) || variables.unset.contains_key(name);
    let names = asked_names(&template.text, &config.dollar_names);
    if template.claim != Claim::Content
        || names.iter().any(|(name, _)| is_known(name))
        || (existing.was_rendered)(&template.output)
    {
        return true;
    }
    plan.left.push(template.path.clone());
    let why = format!(
        "{} would render to it, but asks for no name that is defined, so it is left alone; define one in .env, or name \
         the template in `templates`",
        template.path
    );
    plan.unmade.insert(template.output.clone(), why);
    // What stands there may be out of date if the template is ours after all.
    match names.first().filter(|_| template.was.is_some()) {
        None => plan.skipped.push(Skipped::new(Phase::Render, &template.path, Reason::NotOurs)),
        Some((name, at)) => {
            let message = format!(
                "is left alone as another program's, since no name that it asks for (`{name}`) is defined in .env or \
                 .env.example; `templates` in the settings makes it ours, `templates_skip` ends this warning"
            );
            plan.warnings
                .push(Diagnostic::warning(&template.path, 0, message).at_offset(&template.text, *at));
        }
    }
    false
}

/// Whether what stands there was written by somebody else, who committed it.
fn is_somebody_elses(
    template: &TemplateSource,
    text: &str,
    config: &Config,
    existing: &Existing<'_>,
) -> bool {
    let Some(was) = template.was.as_deref().filter(|was| *was != text) else { return false };
    template.claim != Claim::Listed
        && !config.overwrite
        && !(existing.is_rendered)(&template.output, was)
        && (existing.is_committed)(&template.output)
}

/// The committed file stays, and is what is read.
fn leave(plan: &mut RenderPlan, template: &TemplateSource, text: &str) {
    let output = template.output.clone();
    let was = template.was.as_deref().unwrap_or_default();
    let same = was.lines().zip(text.lines()).take_while(|(was, now)| was == now).count();
    let at = |text: &str| {
        text.lines().nth(same).unwrap_or("(its end)").trim().chars().take(80).collect::<String>()
    };
    let message = format!(
        "is committed, and differs from what {} renders to (`{}`, and not `{}`), so it is left alone; \
         `cargo xtask render --force` writes it, and `templates` in the settings always does",
        template.path,
        at(was),
        at(text)
    );
    plan.warnings.push(Diagnostic::warning(&output, u32::try_from(same + 1).unwrap_or(0), message));
    plan.skipped.push(Skipped::new(Phase::Render, output, Reason::Committed));
    plan.left.push(template.path.clone());
}

fn add_output(plan: &mut RenderPlan, template: &TemplateSource, text: String) {
    let subject = template.output.clone();
    let why = match &template.was {
        Some(was) if *was == text => None,
        Some(_) => Some(Reason::TextChanged),
        None => Some(Reason::FileMissing),
    };
    match why {
        None => plan.skipped.push(Skipped::new(Phase::Render, &subject, Reason::Unchanged)),
        Some(why) => {
            let kind = StepKind::WriteFile {
                path: subject.clone(),
                contents: text.clone(),
                was: template.was.clone(),
                // An output that is there keeps the mode that somebody gave it.
                mode: template.mode.filter(|_| template.was.is_none()),
            };
            plan.steps.push(Step::new(Phase::Render, &subject, kind, why));
        }
    }
    let rendered = Rendered { text, mode: template.mode, template: template.path.clone() };
    plan.outputs.insert(subject, rendered);
}

fn clash(template: &TemplateSource, all: &[&TemplateSource]) -> Diagnostic {
    let others: Vec<&str> =
        all.iter().map(|other| other.path.as_str()).filter(|path| *path != template.path).collect();
    let message = format!("renders to `{}`, and so does {}", template.output, others.join(", "));
    Diagnostic::error(&template.path, 0, message)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::settings::env::Env;
    use crate::settings::{Layer, load};
    use crate::testing::TestTree;

    fn template(path: &str, output: &str, text: &str, was: Option<&str>) -> TemplateSource {
        TemplateSource {
            path: path.to_owned(),
            output: output.to_owned(),
            text: text.to_owned(),
            mode: Some(0o755),
            was: was.map(str::to_owned),
            in_the_way: None,
            claim: Claim::Content,
        }
    }

    /// `old` is what was rendered before; what begins with `git/` is committed.
    fn plan_with(templates: &[TemplateSource], overwrite: bool) -> RenderPlan {
        let tree = TestTree::new("//- .env\nTAG=v1\n");
        let config = load(&tree.root(), Layer::default(), &Env::default(), None).expect("valid");
        let config = Config { overwrite, ..config };
        let variables = Variables { values: BTreeMap::from([("TAG", "v1")]), ..Variables::default() };
        let existing = Existing {
            is_rendered: &|_, was| was == "old",
            was_rendered: &|path| path.starts_with("again/"),
            is_committed: &|path| path.starts_with("git/"),
        };
        plan_render(templates, &variables, &config, &existing)
    }

    fn plan(templates: &[TemplateSource]) -> RenderPlan {
        plan_with(templates, false)
    }

    fn show(plan: &RenderPlan) -> String {
        let steps = plan.steps.iter().map(|step| {
            let StepKind::WriteFile { path, contents, mode, .. } = &step.kind else {
                panic!("{:?}", step.kind)
            };
            format!("{} write {path} {contents:?} mode {mode:?} ({})", step.id, step.why)
        });
        let skipped =
            plan.skipped.iter().map(|skipped| format!("skip {} ({})", skipped.subject, skipped.why));
        let problems = plan.problems().chain(&plan.warnings).map(ToString::to_string);
        steps.chain(skipped).chain(problems).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn writes_what_differs_and_nothing_else() {
        let plan = plan(&[
            template("a.tpl", "a", "new {{TAG}}", None),
            template("b.tpl", "b", "same {{TAG}}", Some("same v1")),
            template("c.tpl", "c", "now {{TAG}}", Some("before")),
            TemplateSource { claim: Claim::Listed, ..template("d.j2", "d", "{{ TAG }}", None) },
        ]);
        assert_snapshot!(show(&plan), @r#"
        render:a write a "new v1" mode Some(493) (does not exist yet)
        render:c write c "now v1" mode None (text differs)
        render:d write d "v1" mode Some(493) (does not exist yet)
        skip b (unchanged)
        "#);
        assert_eq!(plan.outputs["b"].text, "same v1", "outputs hold what is unchanged too");
        assert_eq!(plan.outputs.len(), 4);
    }

    #[test]
    fn a_template_that_cannot_be_rendered_writes_nothing() {
        let plan = plan(&[
            template("src/a/x.tpl", "src/a/x", "{{TAG}} {{TGA}}", Some("old")),
            template("src/a/y.tpl", "src/a/y", "{{TAG}}", None),
            TemplateSource { claim: Claim::Listed, ..template("src/a/y.j2", "src/a/y", "2", None) },
            template("z.tpl", "z", "{{TAG}}", None),
            template("z.tpl", "z", "{{TAG}}", None),
            template(".env.tpl", ".env", "A={{TAG}}", None),
            TemplateSource {
                in_the_way: Some("its output w is a link".to_owned()),
                ..template("w.tpl", "w", "{{TAG}}", None)
            },
        ]);
        assert_snapshot!(show(&plan), @r#"
        render:z write z "v1" mode Some(493) (does not exist yet)
        error: .env.tpl: renders to `.env`, which sync-config writes; rename the template
        error: src/a/x.tpl:1:9: `TGA` is not defined in .env or .env.example, did you mean `TAG`?
        error: src/a/y.tpl: renders to `src/a/y`, and so does src/a/y.j2
        error: src/a/y.j2: renders to `src/a/y`, and so does src/a/y.tpl
        error: w.tpl: its output w is a link
        "#);
        assert_eq!(plan.outputs.keys().collect::<Vec<_>>(), ["z"]);
    }
    #[test]
    fn a_template_is_ours_by_a_name_that_is_known_or_because_somebody_says_so() {
        let all = [
            template("views/fortune.tpl", "views/fortune", "{{#rows}}{{message}}{{/rows}} {{ .Name }}", None),
            template("views/page.tpl", "views/page", "\n<h1>{{ TITLE }}</h1>{{BODY}}", Some("old")),
            template("views/none.tpl", "views/none", "{{TITLE}}", None),
            template("x.tpl", "x", "{{TITLE}} {{TAG}}", None),
            template("again/y.tpl", "again/y", "{{GONE}}", Some("before")),
            TemplateSource {
                claim: Claim::Name,
                ..template("a/Dockerfile.tpl", "a/Dockerfile", "FROM x", None)
            },
            TemplateSource { claim: Claim::Listed, ..template("l.tpl", "l", "{{NOPE}}", None) },
        ];
        let plan = plan(&all);
        assert_snapshot!(show(&plan), @r#"
        render:a/Dockerfile write a/Dockerfile "FROM x" mode Some(493) (does not exist yet)
        skip views/fortune.tpl (asks for no name that is known: another program's)
        skip views/none.tpl (asks for no name that is known: another program's)
        error: again/y.tpl:1:1: `GONE` is not defined in .env or .env.example
        error: l.tpl:1:1: `NOPE` is not defined in .env or .env.example
        error: x.tpl:1:1: `TITLE` is not defined in .env or .env.example
        warning: views/page.tpl:2:5: is left alone as another program's, since no name that it asks for (`TITLE`) is defined in .env or .env.example; `templates` in the settings makes it ours, `templates_skip` ends this warning
        "#);
        assert_eq!(plan.left, ["views/fortune.tpl", "views/page.tpl", "views/none.tpl"]);
    }

    #[test]
    fn a_committed_file_that_somebody_else_wrote_is_left_alone() {
        let committed = template("git/a.tpl", "git/a", "one\n{{TAG}}\n", Some("one\ntheirs\n"));
        let others = [
            template("b.tpl", "b", "{{TAG}}", Some("not committed")),
            template("git/c.tpl", "git/c", "{{TAG}}", Some("old")),
            template("git/d.tpl", "git/d", "{{TAG}}", Some("v1")),
            TemplateSource {
                claim: Claim::Listed,
                ..template("git/e.tpl", "git/e", "{{TAG}}", Some("theirs"))
            },
        ];
        let all: Vec<TemplateSource> = others.iter().cloned().chain([committed.clone()]).collect();
        let plan = plan(&all);
        assert_snapshot!(show(&plan), @r#"
        render:b write b "v1" mode None (text differs)
        render:git/c write git/c "v1" mode None (text differs)
        render:git/e write git/e "v1" mode None (text differs)
        skip git/a (committed, and not what its template renders to)
        skip git/d (unchanged)
        warning: git/a:2: is committed, and differs from what git/a.tpl renders to (`theirs`, and not `v1`), so it is left alone; `cargo xtask render --force` writes it, and `templates` in the settings always does
        "#);
        assert_eq!(plan.left, ["git/a.tpl"]);
        assert_eq!(plan_with(&[committed], true).steps.len(), 1, "--force");
    }
}
