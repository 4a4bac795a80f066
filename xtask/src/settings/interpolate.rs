//! `$NAME`, `${NAME}` and its forms, replaced as docker compose replaces them in `.env` and in compose files
//! (compose-spec, `12-interpolation.md`; compose-go's `template` package, whose odd corners are kept). Pure.

/// How much longer than what stands in the file a value may become, in bytes: `B=$A$A`, thirty times over, would else
/// fill any memory.
const MAX_GROWTH: usize = 64 * 1024;

/// How deep forms may stand in each other.
const MAX_DEPTH: usize = 100;

/// Replaces `$NAME`, `${NAME}` and the forms with `:-`, `-`, `:+`, `+`, `:?`, `?`; `$$` is a dollar, and so is one that
/// nothing of this follows. A variable that `variable` does not know is empty.
///
/// # Errors
/// A brace that is not closed on its line, a name that is none, a value that `?` asks for and that is missing, what no
/// memory could hold.
pub fn interpolate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    within(text, variable, MAX_DEPTH)
}

fn within(text: &str, variable: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, String> {
    let limit = text.len() + MAX_GROWTH;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let (value, after) = braced(inner, variable, depth)?;
            out.push_str(&value);
            rest = after;
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            match name {
                "" => out.push('$'),
                name => out.push_str(&variable(name).unwrap_or_default()),
            }
            rest = after;
        }
        if out.len() > limit {
            return Err(format!("what its variables stand for is longer than {} KiB", MAX_GROWTH / 1024));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What `inner`, which follows `${`, begins with, and what comes after its closing brace.
fn braced<'a>(
    inner: &'a str,
    variable: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<(String, &'a str), String> {
    let line = inner.split('\n').next().unwrap_or_default();
    let invalid = || format!("`${{{line}` is no form of a variable; `$$` stands for a dollar");
    let (name, tail) = line.split_at(name_length(line));
    if name.is_empty() {
        return Err(invalid());
    }
    let value = variable(name);
    if tail.starts_with('}') {
        return Ok((value.unwrap_or_default(), &inner[name.len() + 1..]));
    }
    let (form, empty_counts) = tail.strip_prefix(':').map_or((tail, true), |form| (form, false));
    let value = value.filter(|value| empty_counts || !value.is_empty());
    let operand_at = line.len() - form.len() + 1;
    let end = closing_brace(line).or_else(|| line.rfind('}')).filter(|end| *end >= operand_at);
    let (Some(operator @ ('-' | '+' | '?')), Some(end)) = (form.chars().next(), end) else {
        return Err(invalid());
    };
    let operand = || match depth.checked_sub(1) {
        Some(depth) => within(&line[operand_at..end], variable, depth),
        None => Err(format!("more than {MAX_DEPTH} forms stand in each other")),
    };
    let value = match (operator, value) {
        ('+', Some(_)) | ('-', None) => operand()?,
        ('+', None) => String::new(),
        (_, Some(value)) => value,
        (_, None) => {
            let why = operand()?;
            let colon = if why.is_empty() { "" } else { ": " };
            return Err(format!("the variable {name} is not set{colon}{why}"));
        }
    };
    Ok((value, &inner[end + 1..]))
}

/// Where the brace is closed that stands open before `text`. As compose counts them, the character after an opening
/// brace is passed over; where the count does not come out, the last brace of the line closes.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut open, mut is_passed_over) = (1_usize, true);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_passed_over => is_passed_over = false,
            b'{' => (open, is_passed_over) = (open + 1, true),
            b'}' if open == 1 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_first) {
        return 0;
    }
    text.find(|c: char| !is_first(c) && !c.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("v1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = interpolate(text, &variable).unwrap_or_else(|why| format!("error: {why}"));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn no_text_fills_the_memory() {
        let mut value = "x".repeat(40_000);
        for _ in 0..60 {
            let known = value.clone();
            match interpolate("$A${A}", &|_| Some(known.clone())) {
                Ok(longer) => value = longer,
                Err(why) => return assert!(why.contains("64 KiB"), "{why}"),
            }
        }
        panic!("{} bytes", value.len());
    }

    #[test]
    fn no_depth_ends_the_program() {
        let nested = |depth: usize| "${NO:-".repeat(depth) + "x" + &"}".repeat(depth);
        check(&nested(50), "x");
        check(&nested(20_000), "error: more than 100 forms stand in each other");
    }

    #[test]
    fn variables_are_replaced_as_compose_does_it() {
        check("a:$TAG", "a:v1");
        check("a:${TAG}", "a:v1");
        check("a:${NO:-x}", "a:x");
        check("a:${EMPTY:-x}", "a:x");
        check("a:${EMPTY-x}", "a:");
        check("a:${NO-${TAG:-y}}", "a:v1");
        check("${TAG:+with}", "with");
        check("${NO:+with}", "");
        check("${NO:?say $TAG}", "error: the variable NO is not set: say v1");
        check("${EMPTY?}", "");
        check("${NO", "error: `${NO` is no form of a variable; `$$` stands for a dollar");
        check("${TAG!}", "error: `${TAG!}` is no form of a variable; `$$` stands for a dollar");
        check("${NO:-a\nb}", "error: `${NO:-a` is no form of a variable; `$$` stands for a dollar");
        check("${NO:-{}} ${NO:-a}b}", "{}} ab");
        check("$$x $ 1$2", "$x $ 1$2");
        check("é$TAG", "év1");
    }
}
