//! Prepares a template's source: renames what minijinja does not know, and bounds what it does not.
//!
//! 1. Transformers marks what a model is trained on with `generation` blocks, which render as they are.
//! 2. minijinja recurses as deep as an expression is long, and as a value is nested: tags have a
//!    largest length, and what variables get goes through a function that looks at it.

use std::ops::Range;

/// What variables get goes through this function.
pub(super) const BOUNDED: &str = "__bounded";
/// What members of namespaces get goes through this one.
pub(super) const BOUNDED_MEMBER: &str = "__bounded_member";
/// How many names, numbers, strings and signs a tag may have. Real templates have up to about fifty.
const LONGEST_TAG: usize = 400;
/// How deep brackets may be in each other within a tag.
const DEEPEST_TAG: usize = 32;
/// How many `elif` a template may have.
const MOST_ELIFS: usize = 400;

/// The source for minijinja. What is not well formed is left for minijinja to complain about.
pub(super) fn prepared(source: &str) -> Result<String, String> {
    if source.contains(BOUNDED) {
        return Err(format!("expected a template without the name `{BOUNDED}`"));
    }
    let mut text = String::new();
    let mut rest = source;
    let mut elifs = 0;
    // The targets of blocks with `set` that are open.
    let mut blocks: Vec<&str> = Vec::new();
    while let Some(at) = next_tag(rest) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if from.starts_with("{#") {
            let end = from.find("#}").map_or(from.len(), |end| end + 2);
            text.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        let line = || source[..source.len() - from.len()].matches('\n').count() + 1;
        let tag =
            Tag::read(from).map_err(|what| format!("{what} (line {} of the template)", line()))?;
        let whole = &from[..tag.end];
        rest = &from[tag.end..];
        if from.starts_with("{{") {
            text.push_str(whole);
            continue;
        }
        let inner = &whole[tag.inner.clone()];
        match inner.split_whitespace().next() {
            Some(word @ ("generation" | "endgeneration")) if inner.trim() == word => {
                let new = if word == "generation" {
                    " if true "
                } else {
                    " endif "
                };
                push_with(&mut text, whole, &tag.inner, new);
            }
            Some("set") => match tag.assignment {
                Some(at) => {
                    let (target, value) = whole[tag.inner.clone()].split_at(at - tag.inner.start);
                    let value = format!("{target} {}(({value})) ", bounded_for(target));
                    push_with(&mut text, whole, &tag.inner, &value);
                }
                None => {
                    let target = inner.trim_start().strip_prefix("set").unwrap_or_default();
                    let target = target.split_once('|').map_or(target, |(target, _)| target);
                    blocks.push(target.trim());
                    text.push_str(whole);
                }
            },
            Some("endset") => {
                text.push_str(whole);
                // A filter may have made anything of it.
                if let Some(target) = blocks.pop() {
                    push_set(&mut text, target, &whole[tag.inner.end..]);
                }
            }
            Some("raw") if inner.trim() == "raw" => {
                let end = end_of_raw(rest);
                text.push_str(whole);
                text.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            word => {
                elifs += usize::from(word == Some("elif"));
                if elifs > MOST_ELIFS {
                    return Err(format!(
                        "expected at most {MOST_ELIFS} `elif` in the template, found more"
                    ));
                }
                text.push_str(whole);
                for name in named_by(whole, &tag.tokens) {
                    push_set(&mut text, name, &whole[tag.inner.end..]);
                }
            }
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// Has a variable go through its function, with a tag that ends as the one before, so that white space is treated alike.
fn push_set(text: &mut String, target: &str, end: &str) {
    let bounded = bounded_for(target);
    text.push_str(&format!("{{% set {target} = {bounded}({target}) {end}"));
}

/// What the value of a target goes through.
fn bounded_for(target: &str) -> &'static str {
    match target.contains('.') {
        true => BOUNDED_MEMBER,
        false => BOUNDED,
    }
}

/// The variables that a tag names for what is in its block: those of loops, parameters, and of `with`.
fn named_by<'a>(whole: &'a str, tokens: &[Token]) -> Vec<&'a str> {
    let tokens: Vec<(usize, &str)> = tokens
        .iter()
        .map(|token| (token.depth, &whole[token.place.clone()]))
        .collect();
    let Some(((_, tag), rest)) = tokens.split_first() else {
        return Vec::new();
    };
    let is_name = |text: &&str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match *tag {
        "for" => {
            let target = rest.iter().map(|(_, token)| *token);
            let target = target.take_while(|token| *token != "in");
            target.filter(is_name).collect()
        }
        "macro" | "call" => {
            let list = rest.iter().skip_while(|(_, token)| *token != "(");
            let list: Vec<_> = list.collect();
            // A call without parameters has its parentheses behind a name.
            if *tag == "call" && rest.first().is_none_or(|(_, token)| *token != "(") {
                return Vec::new();
            }
            let list = list.windows(2).take_while(|two| two[1].0 > 0);
            list.filter(|two| two[0].0 == 1 && matches!(two[0].1, "(" | ","))
                .map(|two| two[1].1)
                .filter(is_name)
                .collect()
        }
        "with" => {
            let mut names = Vec::new();
            for (at, token) in rest.iter().enumerate() {
                if *token != (0, "=") {
                    continue;
                }
                // One name before it, or several in parentheses.
                let before = rest[..at].iter().rev();
                let within = |token: &&(usize, &str)| token.0 > 0;
                match rest[..at].last() {
                    Some((_, ")")) => {
                        names.extend(before.skip(1).take_while(within).map(|token| token.1))
                    }
                    _ => names.extend(before.take(1).map(|token| token.1)),
                }
            }
            names.into_iter().filter(is_name).collect()
        }
        _ => Vec::new(),
    }
}

/// The tag with something else in it, and with its marks of white space.
fn push_with(text: &mut String, whole: &str, inner: &Range<usize>, new: &str) {
    text.push_str(&whole[..inner.start]);
    text.push_str(new);
    text.push_str(&whole[inner.end..]);
}

/// Where the next tag or comment begins.
fn next_tag(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('{')?;
        if text[at + 1..].starts_with(['{', '%', '#']) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Where a `raw` block's end tag begins: its text has no tags.
fn end_of_raw(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        let at = from + at;
        let tag = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        if tag.starts_with("endraw") {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

/// A tag at the start of a text.
struct Tag {
    /// Where what follows it begins.
    end: usize,
    /// What is between its marks.
    inner: Range<usize>,
    /// Where the value begins that a `=` outside of brackets assigns.
    assignment: Option<usize>,
    tokens: Vec<Token>,
}

/// A word, a string or a sign of a tag.
struct Token {
    /// In how many brackets it is. An opening one is as deep as what is in it, a closing one as what follows it.
    depth: usize,
    place: Range<usize>,
}

impl Tag {
    fn read(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let close = if bytes[1] == b'{' { b"}}" } else { b"%}" };
        let start = 2 + usize::from(matches!(bytes.get(2), Some(b'-' | b'+')));
        let (mut at, mut depth, mut tokens, mut assignment) = (start, 0_usize, Vec::new(), None);
        while at < bytes.len() {
            let byte = bytes[at];
            if depth == 0 && bytes[at..].starts_with(close) {
                let marked = at > start && matches!(bytes[at - 1], b'-' | b'+');
                return Ok(Self {
                    end: at + 2,
                    inner: start..at - usize::from(marked),
                    assignment,
                    tokens,
                });
            }
            let from = at;
            at += 1;
            match byte {
                b'\'' | b'"' => at = end_of_string(bytes, at, byte),
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                b'=' if bytes.get(at) == Some(&b'=') => at += 1,
                b'=' if depth == 0 && !matches!(bytes[from - 1], b'!' | b'<' | b'>') => {
                    assignment = assignment.or(Some(at));
                }
                _ if is_of_a_word(byte) => {
                    while bytes.get(at).copied().is_some_and(is_of_a_word) {
                        at += 1;
                    }
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                tokens.push(Token {
                    depth,
                    place: from..at,
                });
            }
            if tokens.len() > LONGEST_TAG {
                return Err(format!(
                    "expected a tag of at most {LONGEST_TAG} words and signs, found a longer one"
                ));
            }
            if depth > DEEPEST_TAG {
                return Err(format!(
                    "expected brackets at most {DEEPEST_TAG} deep, found deeper ones"
                ));
            }
        }
        Ok(Self {
            end: text.len(),
            inner: text.len()..text.len(),
            assignment: None,
            tokens: Vec::new(),
        })
    }
}

fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn end_of_string(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(&byte) = bytes.get(at) {
        at += 1 + usize::from(byte == b'\\');
        if byte == quote {
            break;
        }
    }
    at.min(bytes.len())
}
