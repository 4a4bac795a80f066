//! Values that a front end checks once variables are expanded: ports, signals, times.
//!
//! In: one value. Out: nothing, or why it is refused. The rules are those of BuildKit's `convert_expose.go`,
//! github.com/moby/sys/signal (Linux) and Go's `time.ParseDuration`.

/// Signals without a number of their own in the name.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// One port of `EXPOSE`: `80`, `8000-8010/udp`; `host:container` is let pass, as the front end lets it.
pub(super) fn check_port(port: &str) -> Result<(), String> {
    let refused =
        |why: &str| Err(format!("`{port}` is no port: {why}, for example 8080, 8000-8010 or 53/udp"));
    let container = port.rsplit(':').next().unwrap_or_default();
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if !matches!(protocol.to_ascii_lowercase().as_str(), "" | "tcp" | "udp" | "sctp") {
        return refused(&format!("`{protocol}` is none of tcp, udp and sctp"));
    }
    let (start, end) = range.split_once('-').unwrap_or((range, range));
    match (start.parse::<u16>(), end.parse::<u16>()) {
        (Ok(start), Ok(end)) if start <= end => Ok(()),
        (Ok(_), Ok(_)) => refused("the range ends before it begins"),
        _ => refused("it takes numbers up to 65535"),
    }
}

/// `STOPSIGNAL`: a number or a name, with or without `SIG`.
pub(super) fn check_signal(signal: &str) -> Result<(), String> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_offset =
        |rest: &str, most: u32| rest.parse().is_ok_and(|offset: u32| (1..=most).contains(&offset));
    let is_known = signal.parse::<i64>().is_ok_and(|number| number != 0)
        || SIGNALS.contains(&name)
        || name.strip_prefix("RTMIN+").is_some_and(|rest| is_offset(rest, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|rest| is_offset(rest, 14));
    if is_known { Ok(()) } else { Err(format!("`{signal}` is no signal, for example SIGTERM or 15")) }
}

/// A flag of `HEALTHCHECK`.
pub(super) fn check_health_flag(flag: &str, value: &str) -> Result<(), String> {
    if flag == "retries" {
        return match value.parse::<i32>() {
            _ if value.is_empty() => Ok(()),
            Ok(0..) => Ok(()),
            _ => Err(format!("--retries={value} is no number of times")),
        };
    }
    match nanoseconds(value) {
        _ if value.is_empty() => Ok(()),
        None => Err(format!("--{flag}={value} is no time, for example 30s or 1m30s")),
        Some(time) if time != 0.0 && time < 1e6 => Err(format!("--{flag}={value} is less than 1ms")),
        Some(_) => Ok(()),
    }
}

/// `1m30s` in nanoseconds; none if it is no duration.
fn nanoseconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Some(0.0);
    }
    let mut sum = 0.0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let after = &rest[end..];
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == &after[..unit])?;
        sum += number * factor;
        rest = &after[unit..];
        if rest.is_empty() {
            return Some(sum * sign);
        }
    }
}
