//! The grammar of the template language, by recursive descent over the tokens.

use super::{
    in_context,
    lexer::{Token, tokens},
    shown,
};

/// How deep parentheses and blocks may nest: far beyond use, far below the stack.
const DEPTH_MAX: usize = 100;
/// How many variables one template may have: each use is looked up among all.
const VARIABLES_MAX: usize = 1000;

/// Functions of the language itself and the one that agents add.
const FUNCTIONS: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "le", "len", "lt", "ne", "not",
    "or", "print", "printf", "println", "slice", "urlquery",
];
/// Functions that the templates of secrets and configs have besides: they reach what the task was given.
const PAYLOAD_FUNCTIONS: &[&str] = &["config", "env", "secret"];

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A part of a container's spec.
    Spec,
    /// The data of a secret or config.
    Payload,
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where the action begins that is wrong, in bytes.
    pub(super) at: usize,
    /// What is wrong with it, in a few words, some of them of the template.
    pub(super) text: String,
}

/// Reads a template.
pub(super) fn parse(template: &str, of: Of) -> Result<(), Fault> {
    let (tokens, starts) =
        tokens(template).map_err(|(at, text)| Fault { at, text: text.to_owned() })?;
    let variables = vec!["$".into()];
    let mut parser = Parser { tokens: &tokens, at: 0, variables, blocks: Vec::new(), of, start: 0 };
    for start in starts {
        parser.start = start;
        parser.action().map_err(|text| Fault { at: start, text })?;
    }
    match parser.blocks.last() {
        Some(block) => {
            Err(Fault { at: block.start, text: format!("{} has no end", block.keyword) })
        }
        None => Ok(()),
    }
}

/// An open `if`, `range`, `with`, `define` or `block`.
struct Block {
    keyword: String,
    /// How many variables were known before it.
    variables: usize,
    /// It had its plain `else`.
    finished_else: bool,
    /// Where its action begins, in bytes.
    start: usize,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    variables: Vec<String>,
    blocks: Vec<Block>,
    of: Of,
    /// Where the present action begins, in bytes.
    start: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token, fault: &str) -> Result<(), String> {
        self.skip_space();
        if self.take(token) { Ok(()) } else { Err(fault.into()) }
    }

    fn action(&mut self) -> Result<(), String> {
        self.expect(&Token::Open, "unexpected text in an action")?;
        self.skip_space();
        let keyword = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match keyword.as_str() {
            "if" | "range" | "with" => self.open(&keyword, true)?,
            "define" => {
                self.name()?;
                if !self.blocks.is_empty() {
                    return Err("define inside of a block".into());
                }
                self.open("define", false)?;
            }
            "block" => {
                self.name()?;
                self.pipeline("block")?;
                self.open("block", false)?;
            }
            "template" => {
                self.name()?;
                if self.peek() != Some(&Token::Close) {
                    self.pipeline("template")?;
                }
            }
            "else" => self.otherwise()?,
            "end" => {
                self.at += 1;
                let block = self.blocks.pop().ok_or("end without a block")?;
                self.variables.truncate(block.variables);
            }
            "break" | "continue" => {
                if !self.blocks.iter().any(|block| block.keyword == "range") {
                    return Err(format!("{keyword} outside of range"));
                }
                self.at += 1;
            }
            _ => self.pipeline("")?,
        }
        self.expect(&Token::Close, "unexpected operand in an action")
    }

    fn open(&mut self, keyword: &str, with_pipeline: bool) -> Result<(), String> {
        if self.blocks.len() == DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} nested blocks"));
        }
        let variables = self.variables.len();
        if with_pipeline {
            self.at += 1;
            self.pipeline(keyword)?;
        }
        self.blocks.push(Block {
            keyword: keyword.into(),
            variables,
            finished_else: false,
            start: self.start,
        });
        Ok(())
    }

    fn otherwise(&mut self) -> Result<(), String> {
        self.at += 1;
        self.skip_space();
        let block = self.blocks.last_mut().ok_or("else without a block")?;
        if block.finished_else || !matches!(block.keyword.as_str(), "if" | "with" | "range") {
            return Err("unexpected else".into());
        }
        let variables = block.variables;
        let keyword = block.keyword.clone();
        let again = Token::Word(keyword.clone());
        if keyword != "range" && self.peek() == Some(&again) {
            self.at += 1;
            return self.pipeline(&keyword);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.finished_else = true;
        }
        self.variables.truncate(variables);
        Ok(())
    }

    /// The keyword and the quoted name after it.
    fn name(&mut self) -> Result<(), String> {
        self.at += 1;
        self.expect(&Token::Literal, "expected a quoted name")?;
        self.skip_space();
        Ok(())
    }

    /// `[$x [, $y] := ] command | command …`; `keyword` names what it belongs to.
    fn pipeline(&mut self, keyword: &str) -> Result<(), String> {
        self.skip_space();
        let declared = self.declaration(keyword)?;
        self.piped(0)?;
        self.variables.extend(declared);
        if self.variables.len() > VARIABLES_MAX {
            return Err(format!("more than {VARIABLES_MAX} variables"));
        }
        Ok(())
    }

    fn declaration(&mut self, keyword: &str) -> Result<Vec<String>, String> {
        let start = self.at;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
            self.skip_space();
            let more = keyword == "range" && names.len() == 1 && self.take(&Token::Punct(","));
            self.skip_space();
            if !more {
                break;
            }
        }
        if !names.is_empty() && self.take(&Token::Punct(":=")) {
            return Ok(names);
        }
        if !names.is_empty() && self.take(&Token::Punct("=")) {
            return names
                .iter()
                .try_for_each(|name| self.known_variable(name))
                .map(|()| Vec::new());
        }
        self.at = start;
        Ok(Vec::new())
    }

    fn known_variable(&self, name: &String) -> Result<(), String> {
        if self.variables.contains(name) {
            Ok(())
        } else {
            Err(format!("undefined variable {}", shown(name)))
        }
    }

    fn piped(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} nested parentheses"));
        }
        let mut first = true;
        loop {
            self.skip_space();
            let mut operands = 0;
            let mut constant = false;
            loop {
                let space = self.peek() == Some(&Token::Space);
                self.skip_space();
                if matches!(self.peek(), None | Some(Token::Close | Token::Punct("|" | ")"))) {
                    break;
                }
                if operands > 0 && !space {
                    return Err("two operands without a space between them".into());
                }
                let literal = self.operand(depth)?;
                constant |= operands == 0 && literal;
                operands += 1;
            }
            if operands == 0 {
                return Err("missing value for command".into());
            }
            if constant && (operands > 1 || !first) {
                return Err("can't give argument to a constant".into());
            }
            if !self.take(&Token::Punct("|")) {
                return Ok(());
            }
            first = false;
        }
    }

    /// One operand with the fields that follow it; says whether it is a constant.
    fn operand(&mut self, depth: usize) -> Result<bool, String> {
        let token = self.peek().cloned();
        self.at += 1;
        let mut literal = false;
        match token {
            Some(Token::Field(first)) => {
                let path = self.fields(first);
                return self.known_field(&path).map(|()| false);
            }
            Some(Token::Dot) => return Ok(false),
            Some(Token::Variable(name)) => {
                self.known_variable(&name)?;
                if let (true, Some(Token::Field(first))) =
                    (name == "$" && !self.in_other_template(), self.peek().cloned())
                {
                    self.at += 1;
                    let path = self.fields(first);
                    return in_context(&path).map(|()| false);
                }
            }
            Some(Token::Literal) => literal = true,
            Some(Token::Word(word)) if matches!(word.as_str(), "true" | "false" | "nil") => {
                literal = true
            }
            Some(Token::Word(word)) => {
                let of_payloads =
                    || self.of == Of::Payload && PAYLOAD_FUNCTIONS.contains(&word.as_str());
                if !FUNCTIONS.contains(&word.as_str()) && !of_payloads() {
                    return Err(format!("function {} not defined", shown(&word)));
                }
            }
            Some(Token::Punct("(")) => {
                self.piped(depth + 1)?;
                self.expect(&Token::Punct(")"), "unclosed left paren")?;
            }
            _ => return Err("unexpected token in an action".into()),
        }
        while let Some(Token::Field(_)) = self.peek() {
            if literal {
                return Err("a constant has no fields".into());
            }
            self.at += 1;
        }
        Ok(literal)
    }

    fn fields(&mut self, first: String) -> Vec<String> {
        let mut path = vec![first];
        while let Some(Token::Field(name)) = self.peek() {
            path.push(name.clone());
            self.at += 1;
        }
        path
    }

    /// The template of a `define` or `block` has a `$` of its own.
    fn in_other_template(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block.keyword.as_str(), "define" | "block"))
    }

    /// Inside of a block a field may never be evaluated, and the dot may be something else than the context.
    fn known_field(&self, path: &[String]) -> Result<(), String> {
        if self.blocks.is_empty() { in_context(path) } else { Ok(()) }
    }
}
