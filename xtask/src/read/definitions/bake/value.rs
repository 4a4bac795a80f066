//! Pure: values of expressions, and how one kind becomes another (cty's conversions, which HCL uses).

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What an expression comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A count; exact far beyond what there is to count.
    pub(super) fn count(count: usize) -> Self {
        Self::Number(count as f64)
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// As a string.
    pub(super) fn to_text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Number(value) => Ok(number_text(*value)),
            other => Err(format!("a string is needed, and this is {}", other.kind())),
        }
    }

    pub(super) fn to_bool(&self) -> Result<bool, String> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::Text(text) if text == "true" || text == "1" => Ok(true),
            Self::Text(text) if text == "false" || text == "0" => Ok(false),
            other => Err(format!("a bool is needed, and this is {}", other.kind())),
        }
    }

    pub(super) fn to_number(&self) -> Result<f64, String> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Text(text) => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| format!("a number is needed, and this is `{text}`"))
            }
            other => Err(format!("a number is needed, and this is {}", other.kind())),
        }
    }

    pub(super) fn to_list(&self) -> Result<Vec<Self>, String> {
        match self {
            Self::List(items) => Ok(items.clone()),
            other => Err(format!("a list is needed, and this is {}", other.kind())),
        }
    }

    /// The strings of a list.
    pub(super) fn to_texts(&self) -> Result<Vec<String>, String> {
        self.to_list()?.iter().filter(|item| **item != Self::Null).map(Self::to_text).collect()
    }

    pub(super) fn to_object(&self) -> Result<BTreeMap<String, Self>, String> {
        match self {
            Self::Object(entries) => Ok(entries.clone()),
            other => Err(format!("an object is needed, and this is {}", other.kind())),
        }
    }

    /// What `[index]` gives.
    pub(super) fn at(&self, index: &Self) -> Result<Self, String> {
        match self {
            Self::List(items) => {
                let wanted = index.to_number()?;
                let found = items.iter().enumerate().find(|(at, _)| *at as f64 == wanted);
                found
                    .map(|(_, item)| item.clone())
                    .ok_or_else(|| format!("there is no element {} of {}", number_text(wanted), items.len()))
            }
            Self::Object(entries) => {
                let key = index.to_text()?;
                entries.get(&key).cloned().ok_or_else(|| format!("there is no attribute `{key}`"))
            }
            other => Err(format!("{} has no elements", other.kind())),
        }
    }

    /// The order in which sets have them.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => one.total_cmp(two),
            (one, two) => one.to_text().unwrap_or_default().cmp(&two.to_text().unwrap_or_default()),
        }
    }

    /// From JSON.
    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or_default()),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            serde_json::Value::Object(entries) => {
                Self::Object(entries.iter().map(|(key, value)| (key.clone(), Self::of_json(value))).collect())
            }
        }
    }

    /// To JSON; keys in the alphabet's order.
    pub(super) fn to_json(&self) -> String {
        // Go keeps these out of what may end up in a page.
        let quoted = |text: &str| {
            let quoted = serde_json::Value::from(text).to_string();
            quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => number_text(*value),
            Self::Text(text) => quoted(text),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::to_json).collect::<Vec<_>>().join(","))
            }
            Self::Object(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.to_json()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// A number as HCL writes it into strings: never with an exponent, and without what is only binary, since it reckons with
/// many more digits: 0.1 + 0.2 is 0.3.
pub(super) fn number_text(value: f64) -> String {
    if value.fract() == 0.0 {
        return format!("{value}");
    }
    format!("{value:.14e}").parse().map_or_else(|_| format!("{value}"), |rounded: f64| format!("{rounded}"))
}
