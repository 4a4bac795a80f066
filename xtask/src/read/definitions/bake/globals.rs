//! Pure: what expressions of bake files can name: variables, functions, attributes of other blocks (buildx,
//! `hclparser.go`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hcl_edit::expr::Expression;

use super::eval::{Names, Scope};
use super::file::{self, BakeFile, Block, Named, VALIDATION};
use super::target::Target;
use super::types::Type;
use super::value::Value;
use crate::model::{Diagnostic, Platform};

/// More rows than that are no matrix that a person wrote.
const MAX_ROWS: usize = 10_000;

/// Names that hold in a row of a matrix, and what the row's target is called.
pub(super) type Row = (String, Vec<(String, Value)>);

/// Variables, functions and blocks by name.
pub(super) struct Globals<'a> {
    pub(super) file: &'a BakeFile,
    /// The last block of each kind and label.
    last: BTreeMap<(&'a str, &'a str), &'a Block>,
    /// The last attribute of each name at the top.
    attributes: BTreeMap<&'a str, &'a Named>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    known: RefCell<BTreeMap<String, Value>>,
    /// Functions of the file that are being called.
    called: RefCell<Vec<String>>,
    /// Whether names of rows are being made.
    is_naming: Cell<bool>,
}

impl<'a> Globals<'a> {
    pub(super) fn of(file: &'a BakeFile, environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        // What a file can use without anybody setting it, and cannot set.
        let built_in = [
            ("BAKE_CMD_CONTEXT", "cwd://".to_owned()),
            ("BAKE_LOCAL_PLATFORM", Platform::local().to_string()),
        ];
        let known = built_in.map(|(name, value)| (name.to_owned(), Value::Text(value))).into();
        let last = file.blocks.iter().map(|block| ((block.kind.as_str(), block.label()), block)).collect();
        let attributes = file.attributes.iter().map(|named| (named.name.as_str(), named)).collect();
        Self {
            file,
            last,
            attributes,
            environment,
            known: RefCell::new(known),
            called: RefCell::default(),
            is_naming: Cell::new(false),
        }
    }

    fn last(&self, kind: &str, label: &str) -> Option<&'a Block> {
        self.last.get(&(kind, label)).copied()
    }

    pub(super) fn evaluate(&self, expression: &Expression, depth: usize) -> Result<Value, String> {
        Scope::new(self, Vec::new(), depth).value(expression)
    }

    /// Holds variables to what their blocks say that they have to be.
    pub(super) fn validate(&self, problems: &mut Vec<Diagnostic>) {
        // Of several of a name the last one is the variable.
        let is_last = |block: &&Block| {
            self.last("variable", block.label()).is_some_and(|last| std::ptr::eq(last, *block))
        };
        for block in self.file.blocks.iter().filter(|block| block.kind == "variable").filter(is_last) {
            for rule in block.blocks.iter().filter(|inner| inner.kind == VALIDATION) {
                let value = |key: &str| rule.get(key).map(|named| (named, self.evaluate(&named.value, 0)));
                let Some((condition, result)) = value("condition") else { continue };
                let why = match result.and_then(|value| value.to_bool()) {
                    Ok(true) => continue,
                    Ok(false) => match value("error_message").map(|(_, message)| message) {
                        Some(Ok(Value::Text(message))) => message,
                        _ => "its value is none of those that it can have".to_owned(),
                    },
                    Err(why) => why,
                };
                problems.push(condition.error(&format!("the variable {}: {why}", block.label())));
            }
        }
    }

    /// What the environment has for a variable, and whether that is JSON.
    fn override_of(&self, name: &str, is_typed: bool) -> Option<(String, bool)> {
        let plain = (self.environment)(name);
        let json_name = format!("{name}_JSON");
        let asks_json = (plain.is_none() || is_typed) && self.last("variable", &json_name).is_none();
        let json = if asks_json { (self.environment)(&json_name) } else { None };
        json.map(|text| (text, true)).or_else(|| plain.map(|text| (text, false)))
    }

    /// A variable: the environment, as its type or the kind of its default has it, else that default.
    fn declared(
        &self,
        name: &str,
        block: &Block,
        default: Option<&Named>,
        depth: usize,
    ) -> Result<Value, String> {
        let kind = block.get("type").map(|kind| Type::of(&kind.value)).transpose()?;
        let default = default.map(|default| self.evaluate(&default.value, depth)).transpose()?;
        let default = match (&kind, default) {
            (Some(kind), Some(default)) => Some(kind.convert(default)?),
            (_, default) => default,
        };
        let Some((text, is_json)) = self.override_of(name, kind.is_some()) else {
            let nothing = if kind.is_some() { Value::Null } else { Value::text("") };
            return Ok(default.unwrap_or(nothing));
        };
        let told = |why: String| format!("the variable {name} of the environment: {why}");
        match (kind, default) {
            (Some(kind), _) if is_json => {
                let json = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
                kind.convert(Value::of_json(&json)).map_err(told)
            }
            (Some(kind), _) => kind.of_environment(&text).map_err(told),
            (None, None) => Ok(Value::Text(text)),
            (None, Some(default)) => match Type::of_value(&default) {
                Some(kind) => kind.of_environment(&text).map_err(told),
                None => {
                    Err(told(format!("its default is {}: only with a `type` can it be set", default.kind())))
                }
            },
        }
    }

    /// The rows of a target's matrix, each with the name that it gives; the only one where there is none.
    pub(super) fn rows(&self, block: &Block) -> Result<Vec<Row>, Diagnostic> {
        let matrix = block.get("matrix");
        let rows = match matrix {
            None => vec![Vec::new()],
            Some(matrix) => self.combinations(matrix).map_err(|why| matrix.error(&why))?,
        };
        let Some(name) = block.get("name") else {
            return Ok(rows.into_iter().map(|locals| (block.label().to_owned(), locals)).collect());
        };
        if matrix.is_none() {
            return Err(name.error("only a target with a `matrix` has it"));
        }
        let named = rows.into_iter().map(|locals| {
            let value = Scope::new(self, locals.clone(), 0).value(&name.value);
            let text = value.and_then(|value| value.to_text()).map_err(|why| name.error(&why));
            Ok((text?, locals))
        });
        named.collect()
    }

    /// Every combination of a matrix's values, the first name's values slowest.
    fn combinations(&self, matrix: &Named) -> Result<Vec<Vec<(String, Value)>>, String> {
        let axes = self.evaluate(&matrix.value, 0)?.to_object()?;
        let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
        for (name, values) in axes {
            let values = match values {
                Value::Object(entries) => entries.into_values().collect(),
                values => values.to_list()?,
            };
            if rows.len().saturating_mul(values.len()) > MAX_ROWS {
                return Err("has more rows than anything that a person writes".to_owned());
            }
            let longer = rows.iter().flat_map(|row| {
                let with = |value: &Value| [row.as_slice(), &[(name.clone(), value.clone())]].concat();
                values.iter().map(with)
            });
            rows = longer.collect();
        }
        Ok(rows)
    }

    /// The block of a matrix of which a row has this name, and what names stand for in that row.
    fn row(&self, label: &str) -> Option<(&'a Block, Vec<(String, Value)>)> {
        // A name that asks for names has none.
        if self.is_naming.replace(true) {
            return None;
        }
        let has_matrix = |block: &&Block| block.kind == "target" && block.get("matrix").is_some();
        let found = self.file.blocks.iter().filter(has_matrix).find_map(|block| {
            let (_, locals) = self.rows(block).ok()?.into_iter().find(|(name, _)| name == label)?;
            Some((block, locals))
        });
        self.is_naming.set(false);
        found
    }
}

impl Names for Globals<'_> {
    fn variable(&self, name: &str, depth: usize) -> Result<Option<Value>, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let attribute = self.attributes.get(name).copied();
        let value = match (attribute, self.last("variable", name)) {
            (_, Some(block)) => {
                self.declared(name, block, attribute.or_else(|| block.get("default")), depth)?
            }
            (Some(attribute), None) => self.evaluate(&attribute.value, depth)?,
            (None, None) => return Ok(None),
        };
        self.known.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    fn call(&self, name: &str, arguments: &[Value], depth: usize) -> Option<Result<Value, String>> {
        if name == "homedir" {
            return Some(Ok(Value::Text((self.environment)("HOME").unwrap_or_default())));
        }
        let block = self.last("function", name)?;
        let names = |key: &str| -> Vec<String> {
            let found = block.get(key).map(|named| file::in_string(&named.value));
            match found {
                Some(Expression::Array(items)) => items.iter().filter_map(param_name).collect(),
                Some(other) => param_name(&other).into_iter().collect(),
                None => Vec::new(),
            }
        };
        let params = names("params");
        let result = block.get("result")?;
        let variadic = names("variadic_params");
        if arguments.len() < params.len() || (arguments.len() > params.len() && variadic.is_empty()) {
            return Some(Err(format!("takes {} arguments, and has {}", params.len(), arguments.len())));
        }
        let rest = arguments.get(params.len()..).unwrap_or_default().to_vec();
        let variadic = variadic.into_iter().map(|name| (name, Value::List(rest.clone())));
        let locals = params.into_iter().zip(arguments.iter().cloned()).chain(variadic).collect();
        if self.called.borrow().iter().any(|called| called == name) {
            return Some(Err("calls itself".to_owned()));
        }
        self.called.borrow_mut().push(name.to_owned());
        let value = Scope::new(self, locals, depth).value(&result.value);
        self.called.borrow_mut().pop();
        Some(value)
    }

    fn attribute(&self, path: &[&str], depth: usize) -> Option<Result<Value, String>> {
        let [kind @ ("target" | "group" | "variable"), label, name] = path else { return None };
        let is_meant =
            |block: &&Block| block.kind == *kind && block.label() == *label && block.get("matrix").is_none();
        let mut blocks: Vec<&Block> = self.file.blocks.iter().rev().filter(is_meant).collect();
        let mut locals = Vec::new();
        if blocks.is_empty() {
            let row = self.row(label).filter(|_| *kind == "target")?;
            blocks.push(row.0);
            locals = row.1;
        }
        match blocks.iter().find_map(|block| block.get(name)) {
            Some(found) => Some(Scope::new(self, locals, depth).value(&found.value)),
            None if *kind != "target" => None,
            None if *name == "name" => Some(Ok(Value::text(*label))),
            // What targets can say and this one does not is null.
            None => Target::knows(name).then_some(Ok(Value::Null)),
        }
    }
}

fn param_name(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Variable(name) => Some(name.as_str().to_owned()),
        Expression::String(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}
