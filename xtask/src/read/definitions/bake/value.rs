//! Pure: values of expressions, and how one kind becomes another (cty's conversions, which HCL uses).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::number::Number;

/// How much a value may hold, in bytes: what is made of itself twice, thirty times over, would else fill any memory.
const MAX_SIZE: usize = 4 << 20;

/// What an expression comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Number(Number::of_int(count.into()))
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
            Self::Number(value) => Ok(value.text()),
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

    pub(super) fn to_number(&self) -> Result<Number, String> {
        match self {
            Self::Number(value) => Ok(value.clone()),
            Self::Text(text) => {
                Number::parse(text).ok_or_else(|| format!("a number is needed, and this is `{text}`"))
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

    /// About how much memory it takes.
    fn size(&self) -> usize {
        let inner = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(Self::size).sum(),
            Self::Object(entries) => entries.iter().map(|(key, value)| key.len() + value.size()).sum(),
        };
        inner + size_of::<Self>()
    }

    /// All of one kind, where one is a string and others can be (cty, `convert.Unify`).
    pub(super) fn alike(items: Vec<Self>) -> Vec<Self> {
        let has_text = items.iter().any(|item| matches!(item, Self::Text(_)));
        let as_text = |item: Self| match item {
            Self::Number(_) | Self::Bool(_) => item.to_text().map_or(item, Self::Text),
            other => other,
        };
        if has_text { items.into_iter().map(as_text).collect() } else { items }
    }

    /// As a value that can stand where the other one can.
    pub(super) fn like(self, other: &Self) -> Self {
        match (self, other) {
            (Self::List(items), Self::List(others)) if items.len() == others.len() => {
                Self::List(items.into_iter().zip(others).map(|(item, other)| item.like(other)).collect())
            }
            (Self::List(items), Self::List(others)) => {
                let count = items.len();
                let all = items.into_iter().chain(others.iter().cloned()).collect();
                Self::List(Self::alike(all).into_iter().take(count).collect())
            }
            (Self::Object(entries), Self::Object(others)) => {
                let like = |(key, value): (String, Self)| match others.get(&key) {
                    Some(other) => (key, value.like(other)),
                    None => (key, value),
                };
                Self::Object(entries.into_iter().map(like).collect())
            }
            (one @ (Self::Number(_) | Self::Bool(_)), Self::Text(_)) => one.to_text().map_or(one, Self::Text),
            (one, _) => one,
        }
    }

    /// Whether it stays as it is beside every other one.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Null | Self::Text(_) => true,
            Self::Bool(_) | Self::Number(_) => false,
            Self::List(items) => items.iter().all(Self::is_settled),
            Self::Object(entries) => entries.values().all(Self::is_settled),
        }
    }

    /// What `[index]` gives.
    pub(super) fn at(&self, index: &Self) -> Result<Self, String> {
        match self {
            Self::List(items) => {
                let wanted = index.to_number()?;
                let at = wanted.to_int().and_then(|at| usize::try_from(at).ok());
                let found = at.and_then(|at| items.get(at));
                found
                    .cloned()
                    .ok_or_else(|| format!("there is no element {} of {}", wanted.text(), items.len()))
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
            (Self::Number(one), Self::Number(two)) => one.partial_cmp(two).unwrap_or(Ordering::Equal),
            (one, two) => one.to_text().unwrap_or_default().cmp(&two.to_text().unwrap_or_default()),
        }
    }

    /// From JSON.
    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => {
                Number::parse(&number.to_string()).map_or(Self::Null, Self::Number)
            }
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
            let odd = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            odd.iter().fold(quoted, |text, c| text.replace(*c, &format!("\\u{:04x}", u32::from(*c))))
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.text(),
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

/// How much parts of a value hold together.
#[derive(Default)]
pub(super) struct Budget(usize);

impl Budget {
    /// One more part.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn take(&mut self, value: Value) -> Result<Value, String> {
        self.spend(value.size())?;
        Ok(value)
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_SIZE {
            return Err("comes to more than anything that a person writes".to_owned());
        }
        Ok(())
    }
}
