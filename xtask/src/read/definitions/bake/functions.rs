//! Pure: the functions that bake files can use without declaring them (buildx, `bake/hclparser/stdlib.go`; what they do is
//! cty's `function/stdlib` and go-cty-funcs). What asks chance and what only decrypts is not among them: `bcrypt`, `uuidv4`,
//! `rsadecrypt`.

mod format;
mod lists;
mod networks;
mod texts;
mod times;

pub(super) use lists::in_order;

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

    fn number(self, at: usize) -> Result<f64, String> {
        self.get(at)?.to_number()
    }

    /// A whole number that counts something.
    fn whole(self, at: usize) -> Result<i64, String> {
        let number = self.number(at)?;
        if number.fract() != 0.0 || number.abs() > 9e18 {
            return Err(format!("a whole number is needed, and this is {number}"));
        }
        // In range, and whole.
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        Ok(number as i64)
    }

    fn list(self, at: usize) -> Result<Vec<Value>, String> {
        self.get(at)?.to_list()
    }

    fn rest(self, from: usize) -> &'a [Value] {
        self.0.get(from..).unwrap_or_default()
    }
}

fn number(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    let one = |of: fn(f64) -> f64| arguments.number(0).map(|a| Value::Number(of(a)));
    let two = |of: fn(f64, f64) -> f64| Ok(Value::Number(of(arguments.number(0)?, arguments.number(1)?)));
    let compared =
        |of: fn(&f64, &f64) -> bool| Ok(Value::Bool(of(&arguments.number(0)?, &arguments.number(1)?)));
    let bools = |of: fn(bool, bool) -> bool| {
        Ok(Value::Bool(of(arguments.get(0)?.to_bool()?, arguments.get(1)?.to_bool()?)))
    };
    let all = |of: fn(f64, f64) -> f64| {
        let numbers = arguments.0.iter().map(Value::to_number).collect::<Result<Vec<_>, _>>()?;
        numbers.into_iter().reduce(of).map(Value::Number).ok_or_else(|| "takes a number".to_owned())
    };
    Some(match name {
        "absolute" => one(f64::abs),
        "ceil" => one(f64::ceil),
        "floor" => one(f64::floor),
        "int" => one(f64::trunc),
        "negate" => one(|a| -a),
        "signum" => one(|a| if a == 0.0 { 0.0 } else { a.signum() }),
        "add" => two(|a, b| a + b),
        "subtract" => two(|a, b| a - b),
        "multiply" => two(|a, b| a * b),
        "divide" => two(|a, b| a / b),
        "modulo" => two(|a, b| a % b),
        "pow" => two(f64::powf),
        "log" => two(f64::log),
        "max" => all(f64::max),
        "min" => all(f64::min),
        "greaterthan" => compared(f64::gt),
        "greaterthanorequalto" => compared(f64::ge),
        "lessthan" => compared(f64::lt),
        "lessthanorequalto" => compared(f64::le),
        "equal" => (|| Ok(Value::Bool(arguments.get(0)? == arguments.get(1)?)))(),
        "notequal" => (|| Ok(Value::Bool(arguments.get(0)? != arguments.get(1)?)))(),
        "and" => bools(|a, b| a && b),
        "or" => bools(|a, b| a || b),
        "not" => (|| Ok(Value::Bool(!arguments.get(0)?.to_bool()?)))(),
        "parseint" => parse_int(arguments),
        _ => return None,
    })
}

fn parse_int(arguments: Arguments<'_>) -> Result<Value, String> {
    let text = arguments.text(0)?;
    let base = u32::try_from(arguments.whole(1)?).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or_else(|| "a base is 2 to 36".to_owned())?;
    let number =
        i64::from_str_radix(&text, base).map_err(|_| format!("`{text}` is no number of base {base}"))?;
    Ok(Value::Number(number as f64))
}
