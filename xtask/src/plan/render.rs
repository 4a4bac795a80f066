//! Plans the render phase: every template to its output.
//!
//! In: the templates with their texts and what stands where their outputs go. Out: the files to write, the rendered
//! texts (so that later phases read what will be there), and what is wrong. Pure: nothing is read or written here.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::model::{Diagnostic, Phase, Reason, Skipped, Step, StepId, StepKind};
use crate::template::{Rendered, TemplateSource, render};

/// What rendering comes to.
#[derive(Clone, Debug, Default)]
pub struct RenderPlan {
    /// Outputs that are missing or differ.
    pub steps: Vec<Step>,
    /// Outputs that are as they should be.
    pub skipped: Vec<Skipped>,
    /// What every output holds once the steps are done, by path relative to the root. Read this instead of the disk.
    pub outputs: BTreeMap<String, Rendered>,
    /// Undefined names, outputs that clash. A template that is named here is not rendered at all.
    pub problems: Vec<Diagnostic>,
}

/// Renders all templates with the variables of `.env`.
pub fn plan_render<'a>(
    templates: impl IntoIterator<Item = &'a TemplateSource>,
    config: &Config,
) -> RenderPlan {
    let variables: BTreeMap<&str, &str> =
        config.dotenv.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut by_output: BTreeMap<&str, Vec<&TemplateSource>> = BTreeMap::new();
    for template in templates {
        let same = by_output.entry(&template.output).or_default();
        // A service's folder may also be named by the settings' globs.
        if !same.iter().any(|other| other.path == template.path) {
            same.push(template);
        }
    }

    let mut plan = RenderPlan::default();
    for (output, sources) in by_output {
        let [template] = sources.as_slice() else {
            plan.problems.extend(sources.iter().map(|template| clash(template, &sources)));
            continue;
        };
        if matches!(output, ".env" | ".env.example") {
            let message = format!("renders to `{output}`, which sync-config writes; rename the template");
            plan.problems.push(Diagnostic::error(&template.path, 0, message));
            continue;
        }
        match render(&template.path, &template.text, &variables, &config.dollar_names) {
            Ok(text) => add_output(&mut plan, template, text),
            Err(problems) => plan.problems.extend(problems),
        }
    }
    plan
}

fn add_output(plan: &mut RenderPlan, template: &TemplateSource, text: String) {
    let subject = template.output.clone();
    let why = match &template.was {
        Some(was) if *was == text => None,
        Some(_) => Some(Reason::TextChanged),
        None => Some(Reason::FileMissing),
    };
    match why {
        None => plan.skipped.push(Skipped {
            phase: Phase::Render,
            subject: subject.clone(),
            why: Reason::Unchanged,
        }),
        Some(why) => plan.steps.push(Step {
            id: StepId::new(Phase::Render, &subject),
            phase: Phase::Render,
            subject: subject.clone(),
            kind: StepKind::WriteFile {
                path: subject.clone(),
                contents: text.clone(),
                was: template.was.clone(),
                // An output that is there keeps the mode that somebody gave it.
                mode: template.mode.filter(|_| template.was.is_none()),
            },
            needs: Vec::new(),
            after: Vec::new(),
            why,
        }),
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
    use crate::config::{Layer, load};
    use crate::env::Env;
    use crate::testing::TestTree;

    fn template(path: &str, output: &str, text: &str, was: Option<&str>) -> TemplateSource {
        TemplateSource {
            path: path.to_owned(),
            output: output.to_owned(),
            text: text.to_owned(),
            mode: Some(0o755),
            was: was.map(str::to_owned),
        }
    }

    fn plan(templates: &[TemplateSource]) -> RenderPlan {
        let tree = TestTree::new("//- .env\nTAG=v1\n");
        let config = load(&tree.root(), Layer::default(), &Env::default(), None).expect("valid");
        plan_render(templates, &config)
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
        let problems = plan.problems.iter().map(ToString::to_string);
        steps.chain(skipped).chain(problems).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn writes_what_differs_and_nothing_else() {
        let plan = plan(&[
            template("a.tpl", "a", "new {{TAG}}", None),
            template("b.tpl", "b", "same {{TAG}}", Some("same v1")),
            template("c.tpl", "c", "now {{TAG}}", Some("before")),
            template("d.j2", "d", "{{ TAG }}", None),
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
            template("src/a/y.tpl", "src/a/y", "1", None),
            template("src/a/y.j2", "src/a/y", "2", None),
            template("z.tpl", "z", "1", None),
            template("z.tpl", "z", "1", None),
            template(".env.tpl", ".env", "A=1", None),
        ]);
        assert_snapshot!(show(&plan), @r#"
        render:z write z "1" mode Some(493) (does not exist yet)
        error: .env.tpl: renders to `.env`, which sync-config writes; rename the template
        error: src/a/x.tpl:1:9: `TGA` is not defined in .env or .env.example, did you mean `TAG`?
        error: src/a/y.tpl: renders to `src/a/y`, and so does src/a/y.j2
        error: src/a/y.j2: renders to `src/a/y`, and so does src/a/y.tpl
        "#);
        assert_eq!(plan.outputs.keys().collect::<Vec<_>>(), ["z"]);
    }
}
