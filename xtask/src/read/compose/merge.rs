//! Pure: what a later file says of a service over what an earlier one says of it (compose-spec, `13-merge.md`; compose-go's
//! `override` package).

use std::collections::HashMap;

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
    let is_keyed = KEYED.contains(&key);
    let (lower, upper) = match key {
        "build" => (as_build(lower), as_build(upper)),
        _ if is_keyed => (as_mapping(lower), as_mapping(upper)),
        _ => (lower, upper),
    };
    let place = (upper.file.clone(), upper.line);
    let value = match (lower.value, upper.value) {
        (Value::Map(mut entries), Value::Map(more)) => {
            let places = entries.iter().enumerate().map(|(at, (key, _))| (key.clone(), at));
            let places: HashMap<String, usize> = places.collect();
            for (key, node) in more {
                match places.get(&key).and_then(|at| entries.get_mut(*at)) {
                    // Of these, a name alone says that its value is the environment's.
                    Some((_, below)) if is_keyed && node.value == Value::Null && node.tag.is_none() => {
                        *below = node
                    }
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
    let mut entries: Vec<Option<(String, Node)>> = Vec::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    for item in items.iter().filter(|item| item.tag != Some(NodeTag::Reset)) {
        let (key, value) = match &item.value {
            Value::Text(text) => match text.split_once('=') {
                Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                None => (text.clone(), Value::Null),
            },
            Value::Null => continue,
            other => (String::new(), other.clone()),
        };
        if let Some(before) = last.insert(key.clone(), entries.len()).and_then(|at| entries.get_mut(at)) {
            *before = None;
        }
        entries.push(Some((key, item.with(value))));
    }
    list.with(Value::Map(entries.into_iter().flatten().collect()))
}
