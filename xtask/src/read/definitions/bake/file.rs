//! Pure: one bake file, HCL or JSON, to blocks and attributes that know where they stand.

use std::sync::Arc;

use hcl_edit::Ident;
use hcl_edit::Span as _;
use hcl_edit::expr::{Array, Expression, Object, ObjectKey, ObjectValue};
use hcl_edit::structure::{Attribute, Body, Structure};
use hcl_edit::template::HeredocTemplate;
use hcl_edit::visit_mut::VisitMut;

use super::eval::json_string;
use super::number::Number;
use crate::model::Diagnostic;
use crate::read::yaml::{self, Node, Value as Yaml};

/// The block in a variable that says what its value has to be.
pub(super) const VALIDATION: &str = "validation";
/// A key of JSON files that says nothing.
const COMMENT: &str = "//";

/// `NAME = EXPRESSION`
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub value: Expression,
    pub file: Arc<str>,
    pub line: u32,
}

/// `KIND "LABEL" { … }`
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub kind: String,
    pub labels: Vec<String>,
    pub attributes: Vec<Named>,
    /// Blocks in it.
    pub blocks: Vec<Self>,
    pub file: Arc<str>,
    pub line: u32,
}

impl Block {
    /// The first one; empty where it has none.
    pub(super) fn label(&self) -> &str {
        self.labels.first().map_or("", String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Named> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&*self.file, self.line, message)
    }

    pub(super) fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&*self.file, self.line, message)
    }
}

impl Named {
    pub(super) fn error(&self, message: &str) -> Diagnostic {
        Diagnostic::error(&*self.file, self.line, format!("`{}`: {message}", self.name))
    }

    pub(super) fn warning(&self, message: &str) -> Diagnostic {
        Diagnostic::warning(&*self.file, self.line, format!("`{}` {message}", self.name))
    }
}

/// What a file says, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct BakeFile {
    pub blocks: Vec<Block>,
    /// At the top.
    pub attributes: Vec<Named>,
}

/// Reads a file; `path` is its name in messages.
///
/// # Errors
/// What is neither HCL nor JSON.
pub(super) fn parse(path: &str, text: &str) -> Result<BakeFile, Diagnostic> {
    if path.ends_with(".json") { parse_json(path, text) } else { parse_hcl(path, text) }
}

fn parse_hcl(path: &str, text: &str) -> Result<BakeFile, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut body: Body = text.parse().map_err(|error: hcl_edit::parser::Error| {
        let at = error.location();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Diagnostic {
            column: count(at.column()),
            ..Diagnostic::error(path, count(at.line()), error.message())
        }
    })?;
    Indented(text).visit_body_mut(&mut body);
    let lines = Lines::of(text);
    let file: Arc<str> = path.into();
    let mut parsed = BakeFile::default();
    for structure in body.iter() {
        match structure {
            Structure::Attribute(attribute) => parsed.attributes.push(named(attribute, &file, &lines)),
            Structure::Block(block) => parsed.blocks.push(of_block(block, &file, &lines)),
        }
    }
    Ok(parsed)
}

fn of_block(block: &hcl_edit::structure::Block, file: &Arc<str>, lines: &Lines) -> Block {
    Block {
        kind: block.ident.as_str().to_owned(),
        labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
        attributes: block.body.attributes().map(|one| named(one, file, lines)).collect(),
        blocks: block.body.blocks().map(|inner| of_block(inner, file, lines)).collect(),
        file: file.clone(),
        line: lines.line(block.span().map_or(0, |span| span.start)),
    }
}

fn named(attribute: &Attribute, file: &Arc<str>, lines: &Lines) -> Named {
    let span = attribute.key.span().or_else(|| attribute.span());
    Named {
        name: attribute.key.as_str().to_owned(),
        value: attribute.value.clone(),
        file: file.clone(),
        line: lines.line(span.map_or(0, |span| span.start)),
    }
}

/// Gives heredocs back what `hcl_edit` takes away from their lines, which is not what HCL takes.
struct Indented<'t>(&'t str);

impl VisitMut for Indented<'_> {
    fn visit_heredoc_template_mut(&mut self, heredoc: &mut HeredocTemplate) {
        let raw =
            heredoc.template.span().and_then(|span| self.0.get(span)).filter(|_| heredoc.indent().is_some());
        match raw.map(|raw| (raw, raw.parse())) {
            Some((raw, Ok(template))) => {
                heredoc.template = template;
                Indented(raw).visit_template_mut(&mut heredoc.template);
            }
            _ => self.visit_template_mut(&mut heredoc.template),
        }
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|newline| *newline < offset) + 1).unwrap_or(u32::MAX)
    }
}

/// JSON is YAML with fewer words (HCL's JSON syntax specification: strings are templates).
fn parse_json(path: &str, text: &str) -> Result<BakeFile, Diagnostic> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let line = u32::try_from(error.line()).unwrap_or_default();
        return Err(Diagnostic::error(path, line, error.to_string()));
    }
    let mut parsed = BakeFile::default();
    let documents = yaml::parse_json(path, text, |text| {
        Number::parse(text).map_or_else(|| text.to_owned(), |number| number.text())
    })?;
    for (kind, labelled) in documents.iter().flat_map(Node::entries).filter(|(key, _)| key != COMMENT) {
        if !matches!(kind.as_str(), "target" | "group" | "variable" | "function") {
            parsed.attributes.push(of_node(kind, labelled)?);
            continue;
        }
        for (label, node) in one_or_several(labelled).flat_map(Node::entries) {
            let block = of_object(kind, one_or_several(node).flat_map(Node::entries), node)?;
            parsed.blocks.push(Block { labels: vec![label.clone()], ..block });
        }
    }
    Ok(parsed)
}

/// A list of objects stands for several blocks.
fn one_or_several(node: &Node) -> impl Iterator<Item = &Node> {
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items.iter()
}

fn of_object<'n>(
    kind: &str,
    entries: impl Iterator<Item = &'n (String, Node)>,
    node: &Node,
) -> Result<Block, Diagnostic> {
    let (kind, file) = (kind.to_owned(), node.file.clone());
    let (labels, attributes, blocks) = (Vec::new(), Vec::new(), Vec::new());
    let mut block = Block { kind, labels, attributes, blocks, file, line: node.line };
    for (name, node) in entries.filter(|(name, _)| name != COMMENT) {
        if name == VALIDATION {
            for inner in one_or_several(node) {
                block.blocks.push(of_object(name, inner.entries().iter(), node)?);
            }
        } else if block.get(name).is_some() {
            return Err(node.error(format!("the key `{name}` stands here for a second time")));
        } else {
            block.attributes.push(of_node(name, node)?);
        }
    }
    Ok(block)
}

fn of_node(name: &str, node: &Node) -> Result<Named, Diagnostic> {
    let value = expression(node)?;
    Ok(Named { name: name.to_owned(), value, file: node.file.clone(), line: node.line })
}

/// Everything that is no list or object is a string here: what needs another kind is converted from it.
fn expression(node: &Node) -> Result<Expression, Diagnostic> {
    Ok(match &node.value {
        Yaml::Null => Expression::null(),
        Yaml::Text(text) | Yaml::Broken(text) => json_string(text).map_err(|why| node.error(why))?,
        Yaml::List(items) => {
            let mut array = Array::new();
            for item in items {
                array.push(expression(item)?);
            }
            Expression::Array(array)
        }
        Yaml::Map(entries) => {
            let mut object = Object::new();
            for (key, node) in entries {
                let key = match Ident::try_new(key.as_str()) {
                    Ok(ident) => ObjectKey::from(ident),
                    Err(_) => ObjectKey::Expression(json_string(key).map_err(|why| node.error(why))?),
                };
                object.insert(key, ObjectValue::new(expression(node)?));
            }
            Expression::Object(object)
        }
    })
}

/// An expression that stands in a string, as types and names of parameters do in JSON.
pub(super) fn in_string(value: &Expression) -> Expression {
    let Expression::String(text) = value else { return value.clone() };
    let body: Result<Body, _> = format!("x = {}\n", text.as_str()).parse();
    let found = body.ok().and_then(|body| body.get_attribute("x").map(|found| found.value.clone()));
    found.unwrap_or_else(|| value.clone())
}
