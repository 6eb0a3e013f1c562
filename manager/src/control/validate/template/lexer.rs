//! The tokens of the template language: text outside of `{{ }}` is skipped, what is inside is cut up.

/// One token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space between two operands, which Go asks for.
    Space,
    /// A string, character or number literal; `nil`, `true` and `false` are words.
    Literal,
    /// A keyword, function or constant.
    Word(String),
    /// `.name`, without the dot.
    Field(String),
    /// A dot alone.
    Dot,
    /// `$name`, with the dollar.
    Variable(String),
    /// `( ) | , = :=`
    Punct(&'static str),
}

/// The tokens of a template, and where each of its actions begins, in bytes.
pub(super) type Tokens = (Vec<Token>, Vec<usize>);

/// Cuts a template into tokens. The error says in which action (by where it begins, in bytes) what is wrong, in a few
/// words.
pub(super) fn tokens(template: &str) -> Result<Tokens, (usize, &'static str)> {
    let (mut tokens, mut starts) = (Vec::new(), Vec::new());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let at = template.len() - rest.len() + start;
        let failed = |text| (at, text);
        rest = &rest[start + 2..];
        // `{{- ` trims what stands before; the space is part of the marker.
        if let Some(after) = rest.strip_prefix('-').filter(|after| after.starts_with(SPACES)) {
            rest = after;
        }
        let blank = rest.trim_start_matches(SPACES);
        if let Some(comment) = blank.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or(failed("unclosed comment"))?;
            let after = after.strip_prefix(" -").unwrap_or(after);
            let closed = after.strip_prefix("}}");
            rest = closed.ok_or(failed("comment ends before closing delimiter"))?;
            continue;
        }
        starts.push(at);
        tokens.push(Token::Open);
        rest = action(rest, &mut tokens).map_err(failed)?;
        tokens.push(Token::Close);
    }
    Ok((tokens, starts))
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts one action up and returns what follows its `}}`.
fn action<'a>(mut rest: &'a str, tokens: &mut Vec<Token>) -> Result<&'a str, &'static str> {
    loop {
        let blank = rest.trim_start_matches(SPACES);
        if blank.len() < rest.len() {
            if let Some(after) = blank.strip_prefix("-}}") {
                return Ok(after);
            }
            tokens.push(Token::Space);
            rest = blank;
        }
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok(after);
        }
        let (token, after) = one(rest)?;
        // Two operands must not touch, except that fields follow what they belong to.
        if matches!(token, Token::Literal | Token::Word(_) | Token::Variable(_))
            && matches!(
                tokens.last(),
                Some(
                    Token::Literal
                        | Token::Word(_)
                        | Token::Variable(_)
                        | Token::Field(_)
                        | Token::Dot
                )
            )
        {
            return Err("two operands without a space between them");
        }
        tokens.push(token);
        rest = after;
    }
}

fn one(rest: &str) -> Result<(Token, &str), &'static str> {
    let Some(first) = rest.chars().next() else { return Err("unclosed action") };
    for punct in [":=", "=", "|", "(", ")", ","] {
        if let Some(after) = rest.strip_prefix(punct) {
            return Ok((Token::Punct(punct), after));
        }
    }
    match first {
        '"' => quoted(rest, '"', "unterminated quoted string"),
        '\'' => quoted(rest, '\'', "unterminated character constant"),
        '`' => {
            let (_, after) = rest[1..].split_once('`').ok_or("unterminated raw quoted string")?;
            Ok((Token::Literal, after))
        }
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let (name, after) = word(&rest[1..]);
            let token = if name.is_empty() { Token::Dot } else { Token::Field(name.to_owned()) };
            Ok((token, after))
        }
        '$' => {
            let (_, after) = word(&rest[1..]);
            Ok((Token::Variable(rest[..rest.len() - after.len()].to_owned()), after))
        }
        c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => number(rest),
        c if c.is_alphabetic() || c == '_' => {
            let (name, after) = word(rest);
            Ok((Token::Word(name.to_owned()), after))
        }
        _ => Err("unexpected character in an action"),
    }
}

fn word(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()))
}

fn quoted<'a>(
    rest: &'a str,
    quote: char,
    unterminated: &'static str,
) -> Result<(Token, &'a str), &'static str> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Ok((Token::Literal, &rest[at + 1..])),
            _ => {}
        }
    }
    Err(unterminated)
}

fn number(rest: &str) -> Result<(Token, &str), &'static str> {
    let sign = usize::from(rest.starts_with(['+', '-']));
    let mut end = sign;
    let bytes = rest.as_bytes();
    while let Some(&b) = bytes.get(end) {
        let exponent_sign =
            matches!(b, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E' | b'p' | b'P');
        // `-}}` after a number is the trim marker only behind a space, so a sign here must belong to an exponent.
        if !(b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || (end > sign && exponent_sign)) {
            break;
        }
        end += 1;
    }
    if bytes[sign..end].iter().any(u8::is_ascii_digit) {
        Ok((Token::Literal, &rest[end..]))
    } else {
        Err("bad number syntax")
    }
}
