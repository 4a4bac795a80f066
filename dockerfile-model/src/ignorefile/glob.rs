//! Go's `filepath.Match`, to the letter: BuildKit's wildcards are these.
//!
//! In: a pattern and a name. Out: whether it matches, or that the pattern is malformed. `*` and `?` stop at `/`.

/// The pattern has an open bracket, an empty class or a trailing backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern is malformed: a bracket is not closed or empty, or it ends with a backslash")]
pub struct BadPattern;

/// `filepath.Match(pattern, name)`
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = split_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        if let Some(after) = match_chunk(chunk, name)?
            && (after.is_empty() || !pattern.is_empty())
        {
            name = after;
            continue;
        }
        if star {
            for at in 0..name.len() {
                if name[at] == b'/' {
                    break;
                }
                if let Some(after) = match_chunk(chunk, &name[at + 1..])? {
                    if pattern.is_empty() && !after.is_empty() {
                        continue;
                    }
                    name = after;
                    continue 'pattern;
                }
            }
        }
        while !pattern.is_empty() {
            let (_, chunk, rest) = split_chunk(pattern);
            match_chunk(chunk, b"")?;
            pattern = rest;
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Whether a pattern component has to be matched at all; without wildcards it is a plain name.
pub fn is_wild(pattern: &str) -> bool {
    pattern.bytes().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
}

/// Leading stars, then everything up to the next star.
fn split_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|&&b| b == b'*').count();
    let pattern = &pattern[stars..];
    let (mut in_range, mut at) = (false, 0);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => break,
            _ => {}
        }
        at += 1;
    }
    (stars > 0, &pattern[..at], &pattern[at..])
}

/// What is left of `text` after `chunk`; none when it does not match. The whole chunk is checked either way.
fn match_chunk<'t>(mut chunk: &[u8], mut text: &'t [u8]) -> Result<Option<&'t [u8]>, BadPattern> {
    let mut failed = false;
    while let Some(&first) = chunk.first() {
        failed |= text.is_empty();
        match first {
            b'[' => {
                let mut c = '\0';
                if !failed {
                    let (decoded, length) = decode(text);
                    c = decoded;
                    text = &text[length..];
                }
                chunk = &chunk[1..];
                let negated = chunk.first() == Some(&b'^');
                if negated {
                    chunk = &chunk[1..];
                }
                let (mut matched, mut ranges) = (false, 0);
                loop {
                    if ranges > 0 && chunk.first() == Some(&b']') {
                        chunk = &chunk[1..];
                        break;
                    }
                    let low = take_escaped(&mut chunk)?;
                    let mut high = low;
                    if chunk.first() == Some(&b'-') {
                        chunk = &chunk[1..];
                        high = take_escaped(&mut chunk)?;
                    }
                    matched |= low <= c && c <= high;
                    ranges += 1;
                }
                failed |= matched == negated;
            }
            b'?' => {
                if !failed {
                    failed = text[0] == b'/';
                    text = &text[decode(text).1..];
                }
                chunk = &chunk[1..];
            }
            _ => {
                if first == b'\\' {
                    chunk = &chunk[1..];
                }
                let &literal = chunk.first().ok_or(BadPattern)?;
                if !failed {
                    failed = literal != text[0];
                    text = &text[1..];
                }
                chunk = &chunk[1..];
            }
        }
    }
    Ok((!failed).then_some(text))
}

/// One character of a class (`getEsc`).
fn take_escaped(chunk: &mut &[u8]) -> Result<char, BadPattern> {
    if matches!(chunk.first(), None | Some(b'-' | b']')) {
        return Err(BadPattern);
    }
    if chunk[0] == b'\\' {
        *chunk = &chunk[1..];
        if chunk.is_empty() {
            return Err(BadPattern);
        }
    }
    let (c, length) = decode(chunk);
    *chunk = &chunk[length..];
    // A class needs its end.
    if chunk.is_empty() { Err(BadPattern) } else { Ok(c) }
}

/// The first character and its length; a broken one counts as one byte.
fn decode(bytes: &[u8]) -> (char, usize) {
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}
