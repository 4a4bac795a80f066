//! Pure: templates in strings and heredocs to their parts, white space taken away where `~` asks for it and where a heredoc
//! is indented (hclsyntax, `parser_template.go`).
//!
//! The scanner there has one token a line in heredocs, and `~` takes away of the token beside it alone. What is indented is
//! counted afterwards, over the lines of all directives.

use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, ForTemplateExpr, HeredocTemplate, StringTemplate, Strip};

/// What a template is made of.
pub(super) enum Part<'t> {
    Text(String),
    Value(&'t Expression),
    If(&'t Expression, Vec<Self>, Vec<Self>),
    For(&'t ForTemplateExpr, Vec<Self>),
}

/// The parts of a quoted string.
pub(super) fn of_string(template: &StringTemplate) -> Vec<Part<'_>> {
    Reader { is_heredoc: false }.parts(template.iter(), false, Strip::None)
}

/// The parts of a heredoc.
pub(super) fn of_heredoc(heredoc: &HeredocTemplate) -> Vec<Part<'_>> {
    let mut parts = Reader { is_heredoc: true }.parts(heredoc.template.iter(), false, Strip::None);
    if heredoc.indent().is_some() {
        let mut lines = Lines { begins: true, least: usize::MAX, cut: None };
        lines.walk(&mut parts);
        lines = Lines { begins: true, cut: Some(lines.least), ..lines };
        lines.walk(&mut parts);
    }
    parts
}

struct Reader {
    is_heredoc: bool,
}

impl Reader {
    /// `strips` says that the tag before takes white space away, `last` what the tag behind takes away.
    fn parts<'t>(
        &self,
        elements: impl Iterator<Item = &'t Element>,
        mut strips: bool,
        last: Strip,
    ) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        for element in elements {
            match element {
                Element::Literal(text) => self.text(&mut parts, text, std::mem::take(&mut strips)),
                Element::Interpolation(inner) => {
                    strip_end(&mut parts, inner.strip);
                    parts.push(Part::Value(&inner.expr));
                    strips = strips_after(inner.strip);
                }
                Element::Directive(directive) => match &**directive {
                    Directive::If(choice) => {
                        let (first, end) = (&choice.if_expr, choice.endif_expr.strip);
                        let other = choice.else_expr.as_ref();
                        strip_end(&mut parts, first.strip);
                        let strip = other.map_or(end, |other| other.strip);
                        let yes = self.parts(first.template.iter(), strips_after(first.strip), strip);
                        let no = other
                            .map(|other| self.parts(other.template.iter(), strips_after(other.strip), end));
                        parts.push(Part::If(&first.cond_expr, yes, no.unwrap_or_default()));
                        strips = strips_after(end);
                    }
                    Directive::For(each) => {
                        let (first, end) = (&each.for_expr, each.endfor_expr.strip);
                        strip_end(&mut parts, first.strip);
                        let inner = self.parts(first.template.iter(), strips_after(first.strip), end);
                        parts.push(Part::For(first, inner));
                        strips = strips_after(end);
                    }
                },
            }
        }
        strip_end(&mut parts, last);
        parts
    }

    fn text(&self, parts: &mut Vec<Part<'_>>, text: &str, mut strips: bool) {
        if !self.is_heredoc {
            let text = if strips { text.trim_start() } else { text };
            return parts.push(Part::Text(text.to_owned()));
        }
        for line in text.split_inclusive('\n') {
            let line = if std::mem::take(&mut strips) { line.trim_start() } else { line };
            parts.push(Part::Text(line.to_owned()));
        }
    }
}

fn strips_after(strip: Strip) -> bool {
    matches!(strip, Strip::End | Strip::Both)
}

fn strip_end(parts: &mut [Part<'_>], strip: Strip) {
    if let (Strip::Start | Strip::Both, Some(Part::Text(text))) = (strip, parts.last_mut()) {
        text.truncate(text.trim_end().len());
    }
}

/// Goes through the lines of a heredoc: to count what all of them are indented by, then to take it away.
struct Lines {
    /// Whether a line begins here.
    begins: bool,
    least: usize,
    cut: Option<usize>,
}

impl Lines {
    fn walk(&mut self, parts: &mut [Part<'_>]) {
        for part in parts {
            match part {
                Part::Text(text) => self.text(text),
                Part::Value(_) => self.tag(),
                Part::If(_, yes, no) => {
                    self.tag();
                    self.walk(yes);
                    self.walk(no);
                    self.tag();
                }
                Part::For(_, inner) => {
                    self.tag();
                    self.walk(inner);
                    self.tag();
                }
            }
        }
    }

    /// A tag is no white space.
    fn tag(&mut self) {
        if std::mem::take(&mut self.begins) {
            self.least = 0;
        }
    }

    fn text(&mut self, text: &mut String) {
        let ends = text.ends_with('\n');
        let spaces = text.chars().take_while(|c| c.is_whitespace()).count();
        let is_blank = ends && text.trim().is_empty();
        if std::mem::take(&mut self.begins) && !is_blank {
            match self.cut {
                Some(cut) => *text = text.chars().skip(cut).collect(),
                None => self.least = self.least.min(spaces),
            }
        }
        self.begins = ends;
    }
}
