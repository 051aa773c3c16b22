//! Command lines as people write them in a Procfile or a script of package.json, taken apart as a shell would.

use jecloud_sdk::{Problem, template};

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Words only: it can be run without a shell.
    Simple(Simple),
    /// It needs a shell.
    Shell(Shell),
}

/// A command line that can be run without a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simple {
    /// The assignments before the first word. Values are templates.
    pub env: Vec<(String, String)>,
    /// The program and its arguments, never empty. Templates.
    pub words: Vec<String>,
}

/// A command line that needs a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// As it was written.
    pub text: String,
    /// Whether it is one command, so that the shell can give way to it and signals reach it.
    pub is_single: bool,
}

/// First words with which a line is more than one program: keywords and built-in commands of the shell.
const SHELL_WORDS: [&str; 27] = [
    "!", ".", ":", "[", "{", "alias", "break", "case", "cd", "command", "eval", "export", "for", "if", "read",
    "return", "set", "shift", "source", "test", "times", "trap", "umask", "ulimit", "unset", "until", "while",
];

/// Variables, beside those that begin with `LD_`, that the host gives to no process, since a loader or shell would run
/// what they name. In the shell's own text they are the app's business.
const FOR_SHELLS: [&str; 6] = ["BASH_ENV", "ENV", "GCONV_PATH", "PROMPT_COMMAND", "PS4", "SHELLOPTS"];

impl CommandLine {
    /// Takes a line apart. `port` is what stands for `$PORT`; without it a line with `$PORT` needs a shell.
    ///
    /// # Errors
    /// When it is empty, or a quote is not closed.
    pub fn parse(text: &str, port: Option<&str>) -> Result<Self, Problem> {
        let text = text.trim();
        let mut lexer = Lexer { rest: text, port, needs_shell: false, is_compound: false };
        let mut words = Vec::new();
        while let Some(word) = lexer.word()? {
            words.push(word);
        }
        let assignments = words.iter().take_while(|word| word.is_assignment).count();
        let has_exec = words.get(assignments).is_some_and(|word| word.template == "exec");
        if has_exec {
            words.remove(assignments);
        }
        let Some(program) = words.get(assignments) else {
            return Err(Problem::new("there is no command"));
        };
        let is_builtin = SHELL_WORDS.contains(&program.template.as_str());
        let is_for_shells = |word: &Word| {
            let name = word.template.split('=').next().unwrap_or_default();
            name.starts_with("LD_") || FOR_SHELLS.contains(&name)
        };
        if lexer.needs_shell || is_builtin || words[..assignments].iter().any(is_for_shells) {
            let is_single = !lexer.is_compound && !is_builtin && assignments == 0 && !has_exec;
            return Ok(Self::Shell(Shell { text: text.to_owned(), is_single }));
        }
        let words: Vec<String> = words.into_iter().map(|word| word.template).collect();
        let (env, words) = words.split_at(assignments);
        let env = env.iter().filter_map(|word| word.split_once('='));
        Ok(Self::Simple(Simple {
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            words: words.to_vec(),
        }))
    }
}

impl Shell {
    /// The argv that runs it.
    pub fn argv(&self) -> Vec<String> {
        let text = template::escape(&self.text);
        let text = if self.is_single { format!("exec {text}") } else { text };
        vec!["sh".to_owned(), "-c".to_owned(), text]
    }
}

impl Simple {
    /// The argv that runs it through a shell, so that the program is looked for in the process's own PATH.
    pub fn shell_argv(&self) -> Vec<String> {
        let words: Vec<String> = self.words.iter().map(|word| quote(word)).collect();
        vec!["sh".to_owned(), "-c".to_owned(), format!("exec {}", words.join(" "))]
    }
}

/// A word in single quotes where it needs them. A template stays one: what the host fills in is a number.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

struct Word {
    template: String,
    is_assignment: bool,
}

/// Goes through a line. It notes whether a shell is needed, and goes on: quotes must be closed all the same.
struct Lexer<'a> {
    rest: &'a str,
    port: Option<&'a str>,
    needs_shell: bool,
    is_compound: bool,
}

impl Lexer<'_> {
    fn word(&mut self) -> Result<Option<Word>, Problem> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut template = String::new();
        // Whether everything up to the first `=` was written without quotes, as in `NAME=value`.
        let mut name_is_plain = true;
        let mut is_assignment = false;
        while let Some(c) = self.rest.chars().next() {
            if c.is_whitespace() {
                break;
            }
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '\'' => {
                    name_is_plain = false;
                    let end = self.rest.find('\'').ok_or_else(|| Problem::new("a single quote is not closed"))?;
                    template.push_str(&template::escape(&self.rest[..end]));
                    self.rest = &self.rest[end + 1..];
                }
                '"' => {
                    name_is_plain = false;
                    self.double_quoted(&mut template)?;
                }
                '$' => {
                    name_is_plain = false;
                    self.variable(&mut template);
                }
                '\\' => {
                    self.needs_shell = true;
                    name_is_plain = false;
                    if let Some(escaped) = self.rest.chars().next() {
                        self.rest = &self.rest[escaped.len_utf8()..];
                    }
                }
                '|' | '&' | ';' | '(' | ')' | '<' | '>' => {
                    self.needs_shell = true;
                    // A redirection (`> FILE`, `2>&1`) leaves it one command.
                    self.is_compound |= !matches!(c, '<' | '>') && !template.ends_with('>');
                    template.push(c);
                }
                '*' | '?' | '[' | '{' | '}' | '`' => {
                    self.needs_shell = true;
                    template.push(c);
                }
                '#' | '~' if template.is_empty() => {
                    self.needs_shell = true;
                    template.push(c);
                }
                '=' if name_is_plain && !is_assignment && is_variable_name(&template) => {
                    is_assignment = true;
                    template.push('=');
                }
                _ => template.push(c),
            }
        }
        Ok(Some(Word { template, is_assignment }))
    }

    /// What is after an opening double quote, up to the closing one.
    fn double_quoted(&mut self, template: &mut String) -> Result<(), Problem> {
        loop {
            let c = self.rest.chars().next().ok_or_else(|| Problem::new("a double quote is not closed"))?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Ok(()),
                '$' => self.variable(template),
                '`' => self.needs_shell = true,
                '\\' => match self.rest.chars().next() {
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => {
                        self.rest = &self.rest[escaped.len_utf8()..];
                        template.push(escaped);
                    }
                    _ => template.push('\\'),
                },
                '{' => template.push_str("{{"),
                _ => template.push(c),
            }
        }
    }

    /// What is after a `$`: `PORT` is known, all others are for a shell.
    fn variable(&mut self, template: &mut String) {
        let after = self.rest.strip_prefix("{PORT}").or_else(|| {
            let after = self.rest.strip_prefix("PORT")?;
            (!after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')).then_some(after)
        });
        match (after, self.port) {
            (Some(after), Some(port)) => {
                template.push_str(port);
                self.rest = after;
            }
            _ => self.needs_shell = true,
        }
    }
}

fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
