//! Pure: `format` and `formatlist` (cty, `function/stdlib/format.go`): the verbs `%s %q %v %t %d %b %o %x %X %e %E %f %g %G`
//! and `%%`, with flags, width, precision and the number of an argument.

use regex::Regex;

use super::Arguments;
use crate::read::definitions::bake::number::{Decimal, Number};
use crate::read::definitions::bake::value::Value;

/// How wide a text can be asked for.
const MAX_WIDTH: usize = 1000;

/// One verb of a template.
struct Verb<'t> {
    flags: &'t str,
    width: usize,
    precision: Option<usize>,
    /// 1-based; none is the next one.
    argument: Option<usize>,
    letter: &'t str,
}

/// `format(template, arguments…)`
pub(super) fn format(arguments: Arguments<'_>) -> Result<Value, String> {
    let template = arguments.text(0)?;
    let verb =
        Regex::new(r"%([-+ 0#]*)(\d*)(?:\.(\d+))?(?:\[(\d+)\])?([a-zA-Z%])").map_err(|e| e.to_string())?;
    let (mut out, mut end, mut next, mut most) = (String::new(), 0, 1, 0);
    for found in verb.captures_iter(&template) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&template[end..whole.start()]);
        end = whole.end();
        let part = |at| found.get(at).map_or("", |part| part.as_str());
        let verb = Verb {
            flags: part(1),
            width: part(2).parse().unwrap_or(0),
            precision: part(3).parse().ok(),
            argument: part(4).parse().ok(),
            letter: part(5),
        };
        if verb.letter == "%" {
            out.push('%');
            continue;
        }
        let at = verb.argument.unwrap_or(next);
        next = at + 1;
        most = most.max(at);
        out.push_str(&verb.padded(&verb.text(arguments.get(at)?)?));
    }
    if most > 0 && arguments.0.len() > most + 1 {
        return Err(format!("takes {most} arguments after the template, and has {}", arguments.0.len() - 1));
    }
    out.push_str(&template[end..]);
    Ok(Value::Text(out))
}

/// The same for each row of lists.
pub(super) fn format_list(arguments: Arguments<'_>) -> Result<Value, String> {
    let lists = arguments.rest(1).iter().filter_map(|value| value.to_list().ok());
    let length = lists.map(|list| list.len()).max().unwrap_or(1);
    let mut all = Vec::new();
    for at in 0..length {
        let pick = |value: &Value| match value {
            Value::List(items) => items.get(at).cloned().ok_or_else(|| "lists differ in length".to_owned()),
            single => Ok(single.clone()),
        };
        let row: Vec<Value> = arguments.0.iter().map(pick).collect::<Result<_, _>>()?;
        all.push(format(Arguments(&row))?);
    }
    Ok(Value::List(all))
}

impl Verb<'_> {
    fn text(&self, value: &Value) -> Result<String, String> {
        let whole = || {
            let number = value.to_number()?;
            let whole = number.to_int();
            whole.ok_or_else(|| format!("a whole number is needed, and this is {}", number.text()))
        };
        let prefix = |text: &str| if self.flags.contains('#') { text.to_owned() } else { String::new() };
        let number = |text: String| -> String {
            let plus = self.flags.chars().find(|flag| matches!(flag, '+' | ' '));
            let plus = plus.filter(|_| !text.starts_with('-'));
            plus.into_iter().collect::<String>() + &text
        };
        let precision = self.precision.unwrap_or(6);
        Ok(match self.letter {
            "s" => value.to_text()?.chars().take(self.precision.unwrap_or(usize::MAX)).collect(),
            "v" if self.flags.contains('#') => value.to_json(),
            "v" => match value {
                Value::Number(number) => general(number, None),
                value => value.to_text().unwrap_or_else(|_| value.to_json()),
            },
            "q" => Value::Text(value.to_text()?).to_json(),
            "t" => value.to_bool()?.to_string(),
            "d" => number(whole()?.to_string()),
            "x" => number(prefix("0x") + &format!("{:x}", whole()?)),
            "X" => number(prefix("0X") + &format!("{:X}", whole()?)),
            "b" => number(format!("{:b}", whole()?)),
            "o" => number(prefix("0") + &format!("{:o}", whole()?)),
            "f" => number(fixed(&value.to_number()?, precision)),
            "e" => number(exponential(&value.to_number()?, precision)),
            "E" => number(exponential(&value.to_number()?, precision).to_uppercase()),
            "g" => number(general(&value.to_number()?, self.precision)),
            "G" => number(general(&value.to_number()?, self.precision).to_uppercase()),
            other => return Err(format!("does not know `%{other}`")),
        })
    }

    fn padded(&self, text: &str) -> String {
        let missing = self.width.min(MAX_WIDTH).saturating_sub(text.chars().count());
        if self.flags.contains('-') {
            format!("{text}{}", " ".repeat(missing))
        } else if self.flags.contains('0') {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{text}", " ".repeat(missing))
        }
    }
}

fn fixed(value: &Number, places: usize) -> String {
    Decimal::of(value).with_places(places).fixed(places)
}

fn exponential(value: &Number, places: usize) -> String {
    Decimal::of(value).rounded(places + 1).exponential(places)
}

/// `%g`: with an exponent where that is below -4, or as large as the precision, which else counts as 6.
fn general(value: &Number, precision: Option<usize>) -> String {
    let digits = match precision {
        Some(precision) => Decimal::of(value).rounded(precision.max(1)),
        None => Decimal::shortest(value),
    };
    let most = isize::try_from(precision.unwrap_or(6).max(1)).unwrap_or(isize::MAX);
    if digits.exponent() < -4 || digits.exponent() >= most {
        digits.exponential(digits.count().saturating_sub(1))
    } else {
        digits.fixed(0)
    }
}
