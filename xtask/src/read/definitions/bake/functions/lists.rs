//! Pure: functions of lists, sets and objects. A set is a list in order, without doubles.

use std::collections::BTreeMap;

use dashu_int::IBig;

use super::Arguments;
use crate::read::definitions::bake::number::Number;
use crate::read::definitions::bake::value::Value;

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    let list = |of: &dyn Fn(Vec<Value>) -> Vec<Value>| arguments.list(0).map(|items| Value::List(of(items)));
    Some(match name {
        "length" => length(arguments),
        "concat" => concat(arguments),
        "flatten" => list(&|items| items.into_iter().flat_map(flat).collect()),
        "distinct" => list(&|items| distinct(Value::alike(items))),
        "sort" => sort(arguments),
        "reverselist" => list(&|items| items.into_iter().rev().collect()),
        "compact" => list(&|items| {
            items
                .into_iter()
                .filter(|item| !matches!(item, Value::Null) && *item != Value::text(""))
                .collect()
        }),
        "chunklist" => chunk_list(arguments),
        "slice" => slice(arguments),
        "element" => element(arguments),
        "index" => (|| arguments.get(0)?.at(arguments.get(1)?))(),
        "indexof" => index_of(arguments),
        "hasindex" => (|| Ok(Value::Bool(arguments.get(0)?.at(arguments.get(1)?).is_ok())))(),
        "contains" => contains(arguments),
        "coalesce" => coalesce(arguments),
        "coalescelist" => coalesce_list(arguments),
        "keys" => keys(arguments),
        "values" => {
            arguments.get(0).and_then(Value::to_object).map(|map| Value::List(map.into_values().collect()))
        }
        "lookup" => lookup(arguments),
        "merge" => merge(arguments),
        "zipmap" => zip_map(arguments),
        "range" => range(arguments),
        "setunion" => sets(arguments, |one, two| one.iter().chain(two).cloned().collect()),
        "setintersection" => sets(arguments, |one, two| kept(one, |item| has(two, item))),
        "setsubtract" => sets(arguments, |one, two| kept(one, |item| !has(two, item))),
        "setsymmetricdifference" => sets(arguments, |one, two| {
            [kept(one, |item| !has(two, item)), kept(two, |item| !has(one, item))].concat()
        }),
        "setproduct" => set_product(arguments),
        "sethaselement" => contains(arguments),
        _ => return None,
    })
}

fn has(items: &[Value], wanted: &Value) -> bool {
    items.contains(wanted)
}

fn kept(items: &[Value], is_kept: impl Fn(&Value) -> bool) -> Vec<Value> {
    items.iter().filter(|item| is_kept(item)).cloned().collect()
}

fn flat(item: Value) -> Vec<Value> {
    match item {
        Value::List(items) => items.into_iter().flat_map(flat).collect(),
        single => vec![single],
    }
}

fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for item in items {
        if !has(&seen, &item) {
            seen.push(item);
        }
    }
    seen
}

/// A list as a set: in order, without doubles.
pub(in crate::read::definitions::bake) fn in_order(items: Vec<Value>) -> Vec<Value> {
    let mut items = distinct(Value::alike(items));
    items.sort_by(Value::order);
    items
}

fn sort(arguments: Arguments<'_>) -> Result<Value, String> {
    let mut texts = arguments.get(0)?.to_texts()?;
    texts.sort();
    Ok(Value::List(texts.into_iter().map(Value::Text).collect()))
}

fn length(arguments: Arguments<'_>) -> Result<Value, String> {
    match arguments.get(0)? {
        Value::List(items) => Ok(Value::count(items.len())),
        Value::Object(entries) => Ok(Value::count(entries.len())),
        other => Err(format!("a list or an object is needed, and this is {}", other.kind())),
    }
}

fn concat(arguments: Arguments<'_>) -> Result<Value, String> {
    let lists = arguments.0.iter().map(Value::to_list).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::List(lists.concat()))
}

fn chunk_list(arguments: Arguments<'_>) -> Result<Value, String> {
    let items = arguments.list(0)?;
    let size = usize::try_from(arguments.whole(1)?).map_err(|_| "a size is 0 or more".to_owned())?;
    if size == 0 {
        return Ok(Value::List(vec![Value::List(items)]));
    }
    Ok(Value::List(items.chunks(size).map(|chunk| Value::List(chunk.to_vec())).collect()))
}

fn slice(arguments: Arguments<'_>) -> Result<Value, String> {
    let items = arguments.list(0)?;
    let at = |at| usize::try_from(arguments.whole(at)?).map_err(|_| "a position is 0 or more".to_owned());
    let (start, end) = (at(1)?, at(2)?);
    let part = items.get(start..end);
    part.map(|part| Value::List(part.to_vec()))
        .ok_or_else(|| format!("there is no part {start} to {end} of {}", items.len()))
}

fn element(arguments: Arguments<'_>) -> Result<Value, String> {
    let items = arguments.list(0)?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Err("the list is empty".to_owned());
    }
    let at = usize::try_from(arguments.whole(1)?.rem_euclid(count)).unwrap_or_default();
    Ok(items.get(at).cloned().unwrap_or_default())
}

fn index_of(arguments: Arguments<'_>) -> Result<Value, String> {
    let (items, wanted) = (arguments.list(0)?, arguments.get(1)?);
    let at = items.iter().position(|item| item == wanted);
    at.map(Value::count).ok_or_else(|| "the item is not in the list".to_owned())
}

fn contains(arguments: Arguments<'_>) -> Result<Value, String> {
    Ok(Value::Bool(has(&arguments.list(0)?, arguments.get(1)?)))
}

fn coalesce(arguments: Arguments<'_>) -> Result<Value, String> {
    let found = Value::alike(arguments.0.to_vec()).into_iter().find(|value| *value != Value::Null);
    found.ok_or_else(|| "everything is null".to_owned())
}

fn coalesce_list(arguments: Arguments<'_>) -> Result<Value, String> {
    let found = arguments.0.iter().find(|value| matches!(value, Value::List(items) if !items.is_empty()));
    found.cloned().ok_or_else(|| "every list is empty".to_owned())
}

fn keys(arguments: Arguments<'_>) -> Result<Value, String> {
    let keys = arguments.get(0)?.to_object()?.into_keys();
    Ok(Value::List(keys.map(Value::Text).collect()))
}

fn lookup(arguments: Arguments<'_>) -> Result<Value, String> {
    let found = arguments.get(0)?.to_object()?.get(&arguments.text(1)?).cloned();
    found.map_or_else(|| arguments.get(2).cloned(), Ok)
}

fn merge(arguments: Arguments<'_>) -> Result<Value, String> {
    let mut all = BTreeMap::new();
    for map in arguments.0.iter().filter(|value| **value != Value::Null) {
        all.extend(map.to_object()?);
    }
    Ok(Value::Object(all))
}

fn zip_map(arguments: Arguments<'_>) -> Result<Value, String> {
    let (keys, values) = (arguments.get(0)?.to_texts()?, arguments.list(1)?);
    if keys.len() != values.len() {
        return Err(format!("{} keys have {} values", keys.len(), values.len()));
    }
    Ok(Value::Object(keys.into_iter().zip(values).collect()))
}

fn range(arguments: Arguments<'_>) -> Result<Value, String> {
    let zero = Number::of_int(IBig::ZERO);
    let (start, end) = match arguments.0.len() {
        1 => (zero.clone(), arguments.number(0)?),
        _ => (arguments.number(0)?, arguments.number(1)?),
    };
    let step = if arguments.0.len() > 2 {
        arguments.number(2)?
    } else {
        Number::of_int((if end < start { -1 } else { 1 }).into())
    };
    let mut numbers = Vec::new();
    let mut number = start;
    while if step < zero { number > end } else { number < end } {
        if numbers.len() == 1024 {
            return Err("has more than 1024 numbers".to_owned());
        }
        let next = number.plus(&step)?;
        numbers.push(Value::Number(std::mem::replace(&mut number, next)));
    }
    Ok(Value::List(numbers))
}

fn sets(arguments: Arguments<'_>, of: impl Fn(&[Value], &[Value]) -> Vec<Value>) -> Result<Value, String> {
    let lists = arguments.0.iter().map(Value::to_list).collect::<Result<Vec<_>, _>>()?;
    let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
    let mut items = Value::alike(lists.concat()).into_iter();
    let lists = lengths.into_iter().map(|length| items.by_ref().take(length).collect::<Vec<_>>());
    let all = lists.reduce(|one, two| of(&one, &two)).unwrap_or_default();
    Ok(Value::List(in_order(all)))
}

fn set_product(arguments: Arguments<'_>) -> Result<Value, String> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in arguments.0 {
        let items = list.to_list()?;
        let longer = rows
            .iter()
            .flat_map(|row| items.iter().map(|item| [row.as_slice(), std::slice::from_ref(item)].concat()));
        rows = longer.take(100_000).collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
