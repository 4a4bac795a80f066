//! Pure: functions of points in time, which are texts (cty, `function/stdlib/datetime.go`).

use chrono::format::strftime::StrftimeItems;
use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};
use regex::Regex;

use super::Arguments;
use crate::read::definitions::bake::value::Value;

/// What time it is, as far as builds go: with the time in it, an image would never be up to date.
const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    Some(match name {
        "timestamp" => Ok(Value::text(EPOCH)),
        "timeadd" => time_add(arguments),
        "formatdate" => format_date(arguments),
        _ => return None,
    })
}

fn time(text: &str) -> Result<DateTime<FixedOffset>, String> {
    DateTime::parse_from_rfc3339(text).map_err(|error| format!("`{text}`: {error}"))
}

fn time_add(arguments: Arguments<'_>) -> Result<Value, String> {
    let (time, duration) = (time(&arguments.text(0)?)?, arguments.text(1)?);
    let sum = time
        .checked_add_signed(go_duration(&duration)?)
        .ok_or_else(|| "is beyond all calendars".to_owned())?;
    Ok(Value::Text(sum.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// `-1h30m`, `1.5s`, as Go reads them.
fn go_duration(text: &str) -> Result<TimeDelta, String> {
    let odd = || format!("`{text}` is no duration: expected `1h30m`, `-10s`");
    let part = Regex::new(r"^(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)").map_err(|error| error.to_string())?;
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(odd());
    }
    while !rest.is_empty() && rest != "0" {
        let found = part.captures(rest).ok_or_else(odd)?;
        let unit = match &found[2] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "ns" => 1e-9,
            _ => 1e-6,
        };
        seconds += found[1].parse::<f64>().map_err(|_| odd())? * unit;
        rest = &rest[found[0].len()..];
    }
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    // In range, as Go has it: about 292 years.
    if seconds > 9.2e9 {
        return Err(odd());
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(TimeDelta::nanoseconds((sign * seconds * 1e9).round() as i64))
}

/// What stands in quotes stays as it is, two of them being one.
fn format_date(arguments: Arguments<'_>) -> Result<Value, String> {
    let time = time(&arguments.text(1)?)?;
    let template = arguments.text(0)?;
    let mut out = String::new();
    let mut rest = template.as_str();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let quoted = &rest[1..];
            let (text, after) = quoted.split_once('\'').ok_or_else(|| "a quote is not closed".to_owned())?;
            out.push_str(text);
            if after.starts_with('\'') {
                out.push('\'');
            }
            rest = after;
            continue;
        }
        let length = rest.find(|c| c != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        out.push_str(&if first.is_ascii_alphabetic() { word(&time, run)? } else { run.to_owned() });
        rest = after;
    }
    Ok(Value::Text(out))
}

fn word(time: &DateTime<FixedOffset>, run: &str) -> Result<String, String> {
    let is_utc = time.offset().local_minus_utc() == 0;
    let verb = match run {
        "YYYY" => "%Y",
        "YY" => "%y",
        "MMMM" => "%B",
        "MMM" => "%b",
        "MM" => "%m",
        "M" => "%-m",
        "DD" => "%d",
        "D" => "%-d",
        "EEEE" => "%A",
        "EEE" => "%a",
        "hh" => "%H",
        "h" => "%-H",
        "HH" => "%I",
        "H" => "%-I",
        "AA" => "%p",
        "aa" => "%P",
        "mm" => "%M",
        "m" => "%-M",
        "ss" => "%S",
        "s" => "%-S",
        "Z" if is_utc => "Z",
        "ZZZ" if is_utc => "UTC",
        "ZZZ" | "ZZZZ" => "%z",
        "Z" | "ZZZZZ" => "%:z",
        other => return Err(format!("does not know `{other}`; what is no word stands in quotes")),
    };
    Ok(time.format_with_items(StrftimeItems::new(verb)).to_string())
}
