//! Pure: the types that variables declare, and values as these (HCL's `ext/typeexpr`, cty's `convert`), be they evaluated or
//! written in the environment (buildx, `hclparser.go`).

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, FuncCall, Object, ObjectKey};

use super::csv;
use super::file::in_string;
use super::functions::in_order;
use super::number::Number;
use super::value::Value;

/// What a value has to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Any,
    Text,
    Number,
    Bool,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    /// Each attribute, and whether it may be missing.
    Object(BTreeMap<String, (Self, bool)>),
}

impl Type {
    /// The type that an expression names: `string`, `list(number)`, `object({ a = optional(bool) })`.
    ///
    /// # Errors
    /// It names none.
    pub(super) fn of(expression: &Expression) -> Result<Self, String> {
        let none =
            || "expected a type: string, number, bool, any, list(…), set(…), map(…), tuple([…]), object({…})";
        match in_string(expression) {
            Expression::Variable(name) => match name.as_str() {
                "string" => Ok(Self::Text),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                "any" => Ok(Self::Any),
                _ => Err(none().to_owned()),
            },
            Expression::FuncCall(call) => Self::of_call(&call).unwrap_or_else(|| Err(none().to_owned())),
            _ => Err(none().to_owned()),
        }
    }

    fn of_call(call: &FuncCall) -> Option<Result<Self, String>> {
        let mut arguments = call.args.iter();
        let (Some(inner), None) = (arguments.next(), arguments.next()) else { return None };
        let boxed = |of: fn(Box<Self>) -> Self| Some(Self::of(inner).map(|kind| of(Box::new(kind))));
        match (call.name.name.as_str(), inner) {
            ("list", _) => boxed(Self::List),
            ("set", _) => boxed(Self::Set),
            ("map", _) => boxed(Self::Map),
            ("tuple", Expression::Array(items)) => {
                Some(items.iter().map(Self::of).collect::<Result<_, _>>().map(Self::Tuple))
            }
            ("object", Expression::Object(entries)) => Self::of_object(entries),
            _ => None,
        }
    }

    fn of_object(entries: &Object) -> Option<Result<Self, String>> {
        let mut fields = BTreeMap::new();
        for (key, value) in entries.iter() {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str(),
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str(),
                ObjectKey::Expression(Expression::String(name)) => name.as_str(),
                ObjectKey::Expression(_) => return None,
            };
            let optional = match value.expr() {
                Expression::FuncCall(call) if call.name.name.as_str() == "optional" => Some(call),
                _ => None,
            };
            let kind = match optional {
                None => value.expr(),
                Some(call) if call.args.iter().count() == 1 => call.args.iter().next()?,
                Some(_) => return Some(Err("`optional` takes a type and nothing else".to_owned())),
            };
            match Self::of(kind) {
                Ok(kind) => drop(fields.insert(name.to_owned(), (kind, optional.is_some()))),
                Err(why) => return Some(Err(why)),
            }
        }
        Some(Ok(Self::Object(fields)))
    }

    /// A value as this type has it.
    ///
    /// # Errors
    /// It is another one.
    pub(super) fn convert(&self, value: Value) -> Result<Value, String> {
        let all = |kind: &Self, items: Vec<Value>| -> Result<Vec<Value>, String> {
            items.into_iter().map(|item| kind.convert(item)).collect()
        };
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Any, value) => Ok(value),
            (Self::Text, value) => value.to_text().map(Value::Text),
            (Self::Number, value) => value.to_number().map(Value::Number),
            (Self::Bool, value) => value.to_bool().map(Value::Bool),
            (Self::List(kind), value) => all(kind, value.to_list()?).map(Value::List),
            (Self::Set(kind), value) => Ok(Value::List(in_order(all(kind, value.to_list()?)?))),
            (Self::Map(kind), value) => {
                let entries = value.to_object()?.into_iter();
                let entries = entries.map(|(key, value)| Ok((key, kind.convert(value)?)));
                entries.collect::<Result<_, String>>().map(Value::Object)
            }
            (Self::Tuple(kinds), value) => {
                let items = value.to_list()?;
                if items.len() != kinds.len() {
                    return Err(format!("{} values are needed, and these are {}", kinds.len(), items.len()));
                }
                let items = kinds.iter().zip(items).map(|(kind, item)| kind.convert(item));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            (Self::Object(fields), value) => {
                let mut entries = value.to_object()?;
                let field = |(name, (kind, is_optional)): (&String, &(Self, bool))| match entries.remove(name)
                {
                    Some(value) => Ok((name.clone(), kind.convert(value)?)),
                    None if *is_optional => Ok((name.clone(), Value::Null)),
                    None => Err(format!("there is no attribute `{name}`")),
                };
                fields.iter().map(field).collect::<Result<_, _>>().map(Value::Object)
            }
        }
    }

    /// What the environment says, as this type has it: one value, or several with commas between them.
    ///
    /// # Errors
    /// It says no such value, or none can be said there.
    pub(super) fn of_environment(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text | Self::Number | Self::Bool => self.single(text),
            Self::List(kind) | Self::Set(kind) => {
                let items = csv::fields(text, ',')?;
                let items = items.iter().map(|item| kind.single(item)).collect::<Result<_, _>>()?;
                self.convert(Value::List(items))
            }
            Self::Tuple(kinds) => {
                let items = csv::fields(text, ',')?;
                let items = kinds.iter().zip(&items).map(|(kind, item)| kind.single(item));
                self.convert(Value::List(items.collect::<Result<_, _>>()?))
            }
            Self::Map(kind) => {
                let pairs = csv::fields(text, ',')?.into_iter().map(|pair| {
                    match csv::fields(&pair, ':')?.as_slice() {
                        [key, value] => Ok((key.clone(), kind.single(value)?)),
                        _ => Err(format!("`{pair}` is no `key:value`")),
                    }
                });
                pairs.collect::<Result<_, String>>().map(Value::Object)
            }
            Self::Any | Self::Object(_) => Err("what is of this type is said in JSON".to_owned()),
        }
    }

    /// Go's `strconv` knows more words for a bool than HCL, and digits in groups.
    fn single(&self, text: &str) -> Result<Value, String> {
        match (self, text) {
            (Self::Text, text) => Ok(Value::text(text)),
            (Self::Bool, "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Value::Bool(true)),
            (Self::Bool, "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Value::Bool(false)),
            (Self::Bool, other) => Err(format!("a bool is needed, and this is `{other}`")),
            (Self::Number, text) => {
                let number = text.replace('_', "").parse().ok().and_then(Number::of_float);
                number.map(Value::Number).ok_or_else(|| format!("a number is needed, and this is `{text}`"))
            }
            _ => Err("what is of this type is said in JSON".to_owned()),
        }
    }

    /// The type of what is a single value.
    pub(super) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null | Value::Text(_) => Some(Self::Text),
            Value::Bool(_) => Some(Self::Bool),
            Value::Number(_) => Some(Self::Number),
            Value::List(_) | Value::Object(_) => None,
        }
    }
}
