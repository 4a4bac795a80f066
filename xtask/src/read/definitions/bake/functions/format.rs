//! Pure: `format` and `formatlist` (cty, `function/stdlib/format.go`): the verbs `%s %q %v %t %d %b %o %x %X %e %E %f %g %G`
//! and `%%`, with flags, width, precision and the number of an argument.

use regex::Regex;

use super::Arguments;
use crate::read::definitions::bake::value::Value;
use crate::read::yaml::go_exponent;

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
        let whole = || Arguments(std::slice::from_ref(value)).whole(0);
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
                Value::Number(number) => general(*number, None, 21),
                value => value.to_text().unwrap_or_else(|_| value.to_json()),
            },
            "q" => Value::Text(value.to_text()?).to_json(),
            "t" => value.to_bool()?.to_string(),
            "d" => match value.to_number()? {
                whole if whole.fract() == 0.0 => number(format!("{whole:.0}")),
                odd => return Err(format!("a whole number is needed, and this is {odd}")),
            },
            "x" => number(prefix("0x") + &format!("{:x}", whole()?)),
            "X" => number(prefix("0X") + &format!("{:X}", whole()?)),
            "b" => number(format!("{:b}", whole()?)),
            "o" => number(prefix("0") + &format!("{:o}", whole()?)),
            "f" => number(format!("{:.precision$}", value.to_number()?)),
            "e" => number(go_exponent(&format!("{:.precision$e}", value.to_number()?))),
            "E" => number(go_exponent(&format!("{:.precision$e}", value.to_number()?)).to_uppercase()),
            "g" => number(general(value.to_number()?, self.precision, 6)),
            "G" => number(general(value.to_number()?, self.precision, 6).to_uppercase()),
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

/// `%g`: with an exponent where that is below -4, or as large as `most`.
fn general(value: f64, precision: Option<usize>, most: i32) -> String {
    let digits = match precision {
        Some(precision) => format!("{:.*e}", precision.max(1) - 1, value),
        None => format!("{value:e}"),
    };
    let exponent: i32 = digits.rsplit_once('e').and_then(|(_, text)| text.parse().ok()).unwrap_or(0);
    let most = precision.map_or(most, |digits| i32::try_from(digits.max(1)).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= most {
        let (digits, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
        let digits =
            if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
        return go_exponent(&format!("{digits}e{exponent}"));
    }
    digits.parse::<f64>().map_or(digits, |value| format!("{value}"))
}
