//! Pure: the functions that bake files can use without declaring them (buildx, `bake/hclparser/stdlib.go`; what they do is
//! cty's `function/stdlib` and go-cty-funcs). What asks chance and what only decrypts is not among them: `bcrypt`, `uuidv4`,
//! `rsadecrypt`.

mod format;
mod lists;
mod networks;
mod texts;
mod times;

pub(super) use lists::in_order;

use dashu_int::IBig;

use super::number::{Comparison, Number, Operation};
use super::value::Value;

/// What a function of this name comes to; none for one that is not known.
pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let arguments = Arguments(arguments);
    texts::call(name, arguments)
        .or_else(|| lists::call(name, arguments))
        .or_else(|| number(name, arguments))
        .or_else(|| times::call(name, arguments))
        .or_else(|| networks::call(name, arguments))
}

/// What a function is given.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    fn get(self, at: usize) -> Result<&'a Value, String> {
        self.0.get(at).ok_or_else(|| format!("takes {} arguments, and has {}", at + 1, self.0.len()))
    }

    fn text(self, at: usize) -> Result<String, String> {
        self.get(at)?.to_text()
    }

    fn number(self, at: usize) -> Result<Number, String> {
        self.get(at)?.to_number()
    }

    /// A whole number that counts something.
    fn whole(self, at: usize) -> Result<i64, String> {
        let number = self.number(at)?;
        let whole = number.to_int().and_then(|whole| whole.try_into().ok());
        whole.ok_or_else(|| format!("a whole number is needed, and this is {}", number.text()))
    }

    fn list(self, at: usize) -> Result<Vec<Value>, String> {
        self.get(at)?.to_list()
    }

    fn rest(self, from: usize) -> &'a [Value] {
        self.0.get(from..).unwrap_or_default()
    }
}

fn number(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    let one = |of: fn(&Number) -> Number| arguments.number(0).map(|a| Value::Number(of(&a)));
    let two = |of: Operation| of(&arguments.number(0)?, &arguments.number(1)?).map(Value::Number);
    let floats = |of: fn(f64, f64) -> f64| {
        let value = of(arguments.number(0)?.to_float(), arguments.number(1)?.to_float());
        Number::of_float(value).map(Value::Number).ok_or_else(|| "comes to no number".to_owned())
    };
    let compared = |of: Comparison| Ok(Value::Bool(of(&arguments.number(0)?, &arguments.number(1)?)));
    let bools = |of: fn(bool, bool) -> bool| {
        Ok(Value::Bool(of(arguments.get(0)?.to_bool()?, arguments.get(1)?.to_bool()?)))
    };
    let all = |is_better: Comparison| {
        let numbers = arguments.0.iter().map(Value::to_number).collect::<Result<Vec<_>, _>>()?;
        let best = numbers.into_iter().reduce(|one, two| if is_better(&two, &one) { two } else { one });
        best.map(Value::Number).ok_or_else(|| "takes a number".to_owned())
    };
    Some(match name {
        "absolute" => one(|a| if a.is_negative() { a.negated() } else { a.clone() }),
        "ceil" => one(Number::ceil),
        "floor" => one(Number::floor),
        "int" => one(Number::whole),
        "negate" => one(Number::negated),
        "signum" => one(|a| Number::of_int(a.sign().into())),
        "add" => two(Number::plus),
        "subtract" => two(Number::minus),
        "multiply" => two(Number::times),
        "divide" => two(Number::over),
        "modulo" => two(Number::modulo),
        "pow" => floats(f64::powf),
        "log" => floats(f64::log),
        "max" => all(Number::gt),
        "min" => all(Number::lt),
        "greaterthan" => compared(Number::gt),
        "greaterthanorequalto" => compared(Number::ge),
        "lessthan" => compared(Number::lt),
        "lessthanorequalto" => compared(Number::le),
        "equal" => (|| Ok(Value::Bool(arguments.get(0)? == arguments.get(1)?)))(),
        "notequal" => (|| Ok(Value::Bool(arguments.get(0)? != arguments.get(1)?)))(),
        "and" => bools(|a, b| a && b),
        "or" => bools(|a, b| a || b),
        "not" => (|| Ok(Value::Bool(!arguments.get(0)?.to_bool()?)))(),
        "parseint" => parse_int(arguments),
        _ => return None,
    })
}

/// Lower case letters are digits up to 35, and so are upper case ones where there are no more; else they go on from there.
fn parse_int(arguments: Arguments<'_>) -> Result<Value, String> {
    let text = arguments.text(0)?;
    let base = u32::try_from(arguments.whole(1)?).ok().filter(|base| (2..=62).contains(base));
    let base = base.ok_or_else(|| "a base is 2 to 62".to_owned())?;
    let digit = |c: char| match c.to_digit(36)? {
        upper if c.is_ascii_uppercase() && base > 36 => Some(upper + 26),
        digit => Some(digit),
    };
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let digits: Option<Vec<u32>> = unsigned.chars().map(|c| digit(c).filter(|digit| *digit < base)).collect();
    let digits = digits.filter(|digits| !digits.is_empty());
    let digits = digits.ok_or_else(|| format!("`{text}` is no number of base {base}"))?;
    let value = digits.into_iter().fold(IBig::ZERO, |value, digit| value * base + digit);
    Ok(Value::Number(Number::of_int(if text.starts_with('-') { -value } else { value })))
}
