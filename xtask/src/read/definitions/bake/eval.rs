//! Pure: expressions to values (HCL's native syntax specification; the crate `hcl_edit` parses them).
//!
//! In: an expression, and a scope that knows names. Out: its value, or why it has none.

use std::collections::btree_map::Entry;

use hcl_edit::Ident;
use hcl_edit::expr::{
    BinaryOp, BinaryOperator, Conditional, Expression, ForExpr, FuncCall, Object, ObjectKey, ObjectValue,
    Parenthesis, Traversal, TraversalOperator, UnaryOperator,
};
use hcl_edit::template::{Element, ForTemplateExpr, HeredocTemplate, Template};
use unicode_normalization::UnicodeNormalization;

use super::functions;
use super::number::{Comparison, Number, Operation};
use super::template::{self, Part};
use super::types::Type;
use super::value::{Budget, Value};

/// How deep expressions may stand in each other, functions and variables that they name included.
const MAX_DEPTH: usize = 100;

/// What knows the names that are no locals.
pub(super) trait Names {
    /// The value of a variable, or of an attribute at the top; none for a name that nobody knows.
    fn variable(&self, name: &str, depth: usize) -> Result<Option<Value>, String>;

    /// What a function of the file comes to; none for one that it does not have.
    fn call(&self, name: &str, arguments: &[Value], depth: usize) -> Option<Result<Value, String>>;

    /// An attribute of another block: `target.base.args`.
    fn attribute(&self, path: &[&str], depth: usize) -> Option<Result<Value, String>>;
}

/// Names that hold here.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    names: &'a dyn Names,
    locals: Vec<(String, Value)>,
    depth: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn new(names: &'a dyn Names, locals: Vec<(String, Value)>, depth: usize) -> Self {
        Self { names, locals, depth }
    }

    fn with(&self, more: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut inner = self.clone();
        inner.locals.extend(more);
        inner
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// A name that nobody knows, a value of a kind that cannot be used so, a function that refuses.
    pub(super) fn value(&self, expression: &Expression) -> Result<Value, String> {
        if self.depth > MAX_DEPTH {
            return Err("names itself, or stands deeper than anything that a person writes".to_owned());
        }
        let inner = Self { depth: self.depth + 1, ..self.clone() };
        inner.value_of(expression)
    }

    fn value_of(&self, expression: &Expression) -> Result<Value, String> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(number) => {
                let written =
                    number.as_repr().map_or_else(|| number.value().to_string(), |text| text.to_string());
                Value::Text(written.replace(' ', "")).to_number().map(Value::Number)
            }
            Expression::String(text) => Ok(Value::Text(composed(text.as_str().to_owned()))),
            Expression::Array(items) => {
                let mut budget = Budget::default();
                let items = items.iter().map(|item| budget.take(self.value(item)?));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            Expression::Object(entries) => self.object(entries),
            // A string that is nothing but one expression has that one's value, whatever its kind.
            Expression::StringTemplate(string) => match template::of_string(string).as_slice() {
                [Part::Value(only)] => self.value(only),
                parts => self.rendered(parts).map(composed).map(Value::Text),
            },
            Expression::HeredocTemplate(heredoc) => {
                self.rendered(&template::of_heredoc(heredoc)).map(composed).map(Value::Text)
            }
            Expression::Parenthesis(inner) => self.value(inner.inner()),
            Expression::Variable(name) => self.name(name.as_str()),
            Expression::Conditional(conditional) => self.conditional(conditional),
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::UnaryOp(operation) => {
                let value = self.value(&operation.expr)?;
                match operation.operator.value() {
                    UnaryOperator::Neg => Ok(Value::Number(value.to_number()?.negated())),
                    UnaryOperator::Not => Ok(Value::Bool(!value.to_bool()?)),
                }
            }
            Expression::BinaryOp(operation) => self.binary(operation),
            Expression::ForExpr(expression) => self.for_each(expression),
        }
    }

    fn object(&self, entries: &Object) -> Result<Value, String> {
        let mut budget = Budget::default();
        let entry = |(key, value): (&ObjectKey, &ObjectValue)| {
            let key = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str().to_owned(),
                ObjectKey::Expression(Expression::Null(_)) => "null".to_owned(),
                ObjectKey::Expression(key) => self.value(key)?.to_text()?,
            };
            Ok((key, budget.take(self.value(value.expr())?)?))
        };
        entries.iter().map(entry).collect::<Result<_, String>>().map(Value::Object)
    }

    fn conditional(&self, conditional: &Conditional) -> Result<Value, String> {
        let (yes, no) = (&conditional.true_expr, &conditional.false_expr);
        let is_true = self.value(&conditional.cond_expr)?.to_bool()?;
        let (taken, other) = if is_true { (yes, no) } else { (no, yes) };
        let value = self.value(taken)?;
        // The other one says what kind it has to be.
        let other = if value.is_settled() { None } else { self.value(other).ok() };
        Ok(match other {
            Some(other) => value.like(&other),
            None => value,
        })
    }

    fn name(&self, name: &str) -> Result<Value, String> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(value.clone());
        }
        let known = self.names.variable(name, self.depth)?;
        known.ok_or_else(|| format!("there is no variable `{name}`"))
    }

    fn call(&self, call: &FuncCall) -> Result<Value, String> {
        let name = call.name.name.as_str();
        // These look at what fails, or at what has no value.
        match name {
            "try" => {
                let mut last = Err("`try` takes something to try".to_owned());
                for argument in call.args.iter() {
                    last = self.value(argument);
                    if last.is_ok() {
                        break;
                    }
                }
                return last;
            }
            "can" => {
                return Ok(Value::Bool(call.args.iter().all(|argument| self.value(argument).is_ok())));
            }
            "convert" => {
                let mut arguments = call.args.iter();
                let (Some(value), Some(kind)) = (arguments.next(), arguments.next()) else {
                    return Err("`convert` takes a value and a type".to_owned());
                };
                return Type::of(kind)?.convert(self.value(value)?);
            }
            _ => {}
        }
        let mut budget = Budget::default();
        let arguments = call.args.iter().map(|one| budget.take(self.value(one)?));
        let mut arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        if call.args.expand_final() {
            let last = arguments.pop().unwrap_or_default();
            arguments.extend(last.to_list()?);
        }
        let result =
            functions::call(name, &arguments).or_else(|| self.names.call(name, &arguments, self.depth));
        let result = result.ok_or_else(|| format!("there is no function `{name}`"))?;
        result.and_then(|value| Budget::default().take(value)).map_err(|why| format!("{name}(): {why}"))
    }

    fn traversal(&self, traversal: &Traversal) -> Result<Value, String> {
        let mut operators = traversal.operators.as_slice();
        let mut value = None;
        if let Expression::Variable(root) = &traversal.expr {
            let path = operators.iter().map_while(|operator| match operator.value() {
                TraversalOperator::GetAttr(name) => Some(name.as_str()),
                TraversalOperator::Index(Expression::String(name)) => Some(name.as_str()),
                _ => None,
            });
            let path: Vec<&str> = std::iter::once(root.as_str()).chain(path).collect();
            let is_local = self.locals.iter().any(|(local, _)| local == root.as_str());
            if let ([_, _, _, ..], false) = (path.as_slice(), is_local)
                && let Some(found) = self.names.attribute(&path[..3], self.depth)
            {
                value = Some(found?);
                operators = &operators[2..];
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(&traversal.expr)?,
        };
        let operators: Vec<&TraversalOperator> = operators.iter().map(|operator| operator.value()).collect();
        self.follow(value, &operators)
    }

    fn follow(&self, value: Value, operators: &[&TraversalOperator]) -> Result<Value, String> {
        let Some((first, rest)) = operators.split_first() else { return Ok(value) };
        let next = match first {
            TraversalOperator::GetAttr(name) => value.at(&Value::text(name.as_str()))?,
            TraversalOperator::Index(index) => value.at(&self.value(index)?)?,
            TraversalOperator::LegacyIndex(index) => {
                value.at(&Value::Number(Number::of_int((*index.value()).into())))?
            }
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                let items = match value {
                    Value::Null => Vec::new(),
                    Value::List(items) => items,
                    single => vec![single],
                };
                let each = items.into_iter().map(|item| self.follow(item, rest));
                return each.collect::<Result<_, _>>().map(Value::List);
            }
        };
        self.follow(next, rest)
    }

    fn binary(&self, operation: &BinaryOp) -> Result<Value, String> {
        let left = self.value(&operation.lhs_expr)?;
        let right = self.value(&operation.rhs_expr)?;
        let numbers = |of: Operation| of(&left.to_number()?, &right.to_number()?).map(Value::Number);
        let compared = |of: Comparison| Ok(Value::Bool(of(&left.to_number()?, &right.to_number()?)));
        match operation.operator.value() {
            BinaryOperator::Eq => Ok(Value::Bool(left == right)),
            BinaryOperator::NotEq => Ok(Value::Bool(left != right)),
            BinaryOperator::And => Ok(Value::Bool(left.to_bool()? && right.to_bool()?)),
            BinaryOperator::Or => Ok(Value::Bool(left.to_bool()? || right.to_bool()?)),
            BinaryOperator::Plus => numbers(Number::plus),
            BinaryOperator::Minus => numbers(Number::minus),
            BinaryOperator::Mul => numbers(Number::times),
            BinaryOperator::Div => numbers(Number::over),
            BinaryOperator::Mod => numbers(Number::modulo),
            BinaryOperator::Less => compared(Number::lt),
            BinaryOperator::LessEq => compared(Number::le),
            BinaryOperator::Greater => compared(Number::gt),
            BinaryOperator::GreaterEq => compared(Number::ge),
        }
    }

    fn for_each(&self, expression: &ForExpr) -> Result<Value, String> {
        let intro = &expression.intro;
        let collection = self.value(&intro.collection_expr)?;
        let (mut list, mut object) = (Vec::new(), std::collections::BTreeMap::new());
        let mut budget = Budget::default();
        for (key, value) in entries(collection)? {
            let key_var = intro.key_var.as_ref().map(|name| (name.as_str().to_owned(), key));
            let inner = self.with(key_var.into_iter().chain([(intro.value_var.as_str().to_owned(), value)]));
            if let Some(condition) = &expression.cond
                && !inner.value(&condition.expr)?.to_bool()?
            {
                continue;
            }
            let value = budget.take(inner.value(&expression.value_expr)?)?;
            match &expression.key_expr {
                None => list.push(value),
                Some(key) => {
                    let key = inner.value(key)?.to_text()?;
                    if expression.grouping {
                        let group = object.entry(key).or_insert_with(|| Value::List(Vec::new()));
                        if let Value::List(items) = group {
                            items.push(value);
                        }
                    } else {
                        match object.entry(key) {
                            Entry::Occupied(had) => {
                                return Err(format!("`for` gives two values for the key `{}`", had.key()));
                            }
                            Entry::Vacant(free) => drop(free.insert(value)),
                        }
                    }
                }
            }
        }
        Ok(if expression.key_expr.is_some() { Value::Object(object) } else { Value::List(list) })
    }

    fn rendered(&self, parts: &[Part<'_>]) -> Result<String, String> {
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(value) => out.push_str(&self.value(value)?.to_text()?),
                Part::If(condition, yes, no) => {
                    let chosen = if self.value(condition)?.to_bool()? { yes } else { no };
                    out.push_str(&self.rendered(chosen)?);
                }
                Part::For(intro, inner) => out.push_str(&self.repeated(intro, inner)?),
            }
            Budget::default().spend(out.len())?;
        }
        Ok(out)
    }

    fn repeated(&self, intro: &ForTemplateExpr, parts: &[Part<'_>]) -> Result<String, String> {
        let mut out = String::new();
        for (key, value) in entries(self.value(&intro.collection_expr)?)? {
            let key_var = intro.key_var.as_ref().map(|name| (name.as_str().to_owned(), key));
            let inner = self.with(key_var.into_iter().chain([(intro.value_var.as_str().to_owned(), value)]));
            out.push_str(&inner.rendered(parts)?);
            Budget::default().spend(out.len())?;
        }
        Ok(out)
    }
}

/// Strings are composed (Unicode's form C) for HCL.
fn composed(text: String) -> String {
    if text.is_ascii() { text } else { text.nfc().collect() }
}

/// What `for` goes through.
fn entries(collection: Value) -> Result<Vec<(Value, Value)>, String> {
    match collection {
        Value::List(items) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (Value::count(at), item)).collect())
        }
        Value::Object(entries) => {
            Ok(entries.into_iter().map(|(key, value)| (Value::Text(key), value)).collect())
        }
        other => Err(format!("`for` takes a list or an object, and this is {}", other.kind())),
    }
}

/// A string of a JSON file, which is a template there: one without quotes around it, as in a heredoc.
///
/// # Errors
/// It cannot be read as one.
pub(super) fn json_string(text: &str) -> Result<Expression, String> {
    if !text.contains("${") && !text.contains("%{") {
        return Ok(Expression::from(text));
    }
    let template: Template =
        text.parse().map_err(|error: hcl_edit::parser::Error| error.message().to_owned())?;
    Ok(match template.as_single_element() {
        // A key in parentheses is none that stands for itself.
        Some(Element::Interpolation(only)) => Parenthesis::new(only.expr.clone()).into(),
        _ => HeredocTemplate::new(Ident::new("JSON"), template).into(),
    })
}
