//! Pure: what a later file says of a service over what an earlier one says of it (compose-spec, `13-merge.md`; compose-go's
//! `override` package).

use crate::read::yaml::{Node, NodeTag, Value};

/// Lists of `KEY=value` that may be written as mappings, and are put together by their keys.
const KEYED: [&str; 3] = ["args", "labels", "additional_contexts"];

/// A service of a later file over the same of an earlier one. What it takes away stays with its tag, for the files before.
pub(super) fn service(lower: Option<Node>, upper: Node) -> Node {
    let Some(lower) = lower.filter(|lower| lower.tag != Some(NodeTag::Reset)) else {
        return if upper.tag == Some(NodeTag::Override) { Node { tag: None, ..upper } } else { upper };
    };
    over(lower, upper, "")
}

fn over(lower: Node, upper: Node, key: &str) -> Node {
    match (upper.tag, &upper.value) {
        (Some(NodeTag::Reset), _) => return upper,
        (Some(NodeTag::Override), _) => return Node { tag: None, ..upper },
        // It says nothing.
        (None, Value::Null) => return lower,
        (None, _) => {}
    }
    let (lower, upper) = match key {
        "build" => (as_build(lower), as_build(upper)),
        key if KEYED.contains(&key) => (as_mapping(lower), as_mapping(upper)),
        _ => (lower, upper),
    };
    let place = (upper.file.clone(), upper.line);
    let value = match (lower.value, upper.value) {
        (Value::Map(mut entries), Value::Map(more)) => {
            for (key, node) in more {
                match entries.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, below)) => {
                        let lower = below.clone();
                        *below = over(lower, node, &key);
                    }
                    None => entries.push((key, node)),
                }
            }
            Value::Map(entries)
        }
        (Value::List(mut items), Value::List(more)) => {
            items.extend(more);
            Value::List(items)
        }
        (_, upper) => upper,
    };
    Node { file: place.0, line: place.1, tag: None, value }
}

/// A build that is nothing but its context.
pub fn as_build(build: Node) -> Node {
    match build.value {
        Value::Text(_) | Value::Broken(_) => {
            let context = ("context".to_owned(), build.clone());
            build.with(Value::Map(vec![context]))
        }
        _ => build,
    }
}

/// `KEY=value` in each line as a mapping; a key alone has no value. Of several the last counts.
pub fn as_mapping(list: Node) -> Node {
    let Value::List(items) = &list.value else { return list };
    let mut entries: Vec<(String, Node)> = Vec::new();
    for item in items {
        let (key, value) = match &item.value {
            Value::Text(text) => match text.split_once('=') {
                Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                None => (text.clone(), Value::Null),
            },
            Value::Null => continue,
            other => (String::new(), other.clone()),
        };
        entries.retain(|(name, _)| *name != key);
        entries.push((key, item.with(value)));
    }
    list.with(Value::Map(entries))
}
