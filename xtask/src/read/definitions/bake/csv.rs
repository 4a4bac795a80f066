//! Pure: values with commas between them (RFC 4180, as Go's `encoding/csv` reads it).

/// The fields of one line.
///
/// # Errors
/// A quote that is not closed, or something behind it.
pub(super) fn fields(line: &str, comma: char) -> Result<Vec<String>, String> {
    Ok(records(line, comma)?.into_iter().next().unwrap_or_default())
}

/// All lines; empty ones are none.
///
/// # Errors
/// As [`fields`].
pub(super) fn records(text: &str, comma: char) -> Result<Vec<Vec<String>>, String> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = next;
            continue;
        }
        let mut record = Vec::new();
        loop {
            let (field, after) = field(rest, comma)?;
            record.push(field);
            rest = after;
            match rest.strip_prefix(comma) {
                Some(next) => rest = next,
                None => break,
            }
        }
        records.push(record);
    }
    Ok(records)
}

/// A field, and what comes behind it: a comma, the line's end, nothing.
fn field(text: &str, comma: char) -> Result<(String, &str), String> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([comma, '\n']).unwrap_or(text.len());
        return Ok((text[..end].trim_end_matches('\r').to_owned(), &text[end..]));
    };
    let mut field = String::new();
    while let Some((part, after)) = rest.split_once('"') {
        field.push_str(part);
        rest = after;
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => {
                rest = rest.strip_prefix('\r').unwrap_or(rest);
                let ends = rest.is_empty() || rest.starts_with([comma, '\n']);
                return ends
                    .then_some((field, rest))
                    .ok_or_else(|| format!("`{text}` goes on behind a quote"));
            }
        }
    }
    Err(format!("`{text}` has a quote that is not closed"))
}
