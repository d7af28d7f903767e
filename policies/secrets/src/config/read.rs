//! Names and values of TOML, YAML, JSON, INI, env and other text, line by line. It
//! is no parser: a file that its own parser would refuse is read as far as it makes
//! sense, because a secret in it is one all the same.

use super::name::{joined, name_of, quoted};
use crate::work;
use alloc::borrow::Cow;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What is deeper within brackets has no names of what it is in.
const MAX_DEPTH: usize = 64;

/// What files such as `.netrc` and `msmtprc` write without a sign.
const SPACED: [&str; 5] = ["password", "passwd", "passphrase", "secret", "requirepass"];

/// A value and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    /// Its name, with those of what it is in: `database.password`.
    pub name: String,
    /// What it says, without quotation marks and escapes.
    pub value: Cow<'t, str>,
    /// Where it stands in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// It stands in a comment.
    pub in_comment: bool,
    /// It has no quotation marks.
    pub is_bare: bool,
}

impl<'t> Entry<'t> {
    pub(crate) fn new(name: &str, value: &'t str) -> Self {
        Self {
            name: name.to_owned(),
            value: Cow::Borrowed(value),
            start: 0,
            end: value.len(),
            in_comment: false,
            is_bare: true,
        }
    }
}

/// A name whose values follow on lines that are indented more, or up to a bracket.
#[derive(Debug)]
struct Parent {
    indent: usize,
    name: String,
    bracket: bool,
}

/// A text of several lines that has begun.
#[derive(Debug)]
enum Open {
    /// Until these quotation marks.
    Quoted { name: String, marks: &'static str, start: usize, text: String },
    /// A block of YAML: lines that are indented more.
    Block { name: String, indent: usize, start: usize, end: usize, text: String },
}

/// The entries of a text.
#[must_use]
pub fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut reader =
        Reader { text, entries: Vec::new(), parents: Vec::new(), table: String::new(), open: None };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        reader.line(at, line.trim_end_matches(['\n', '\r']));
        at += line.len();
    }
    reader.close();
    reader.entries
}

struct Reader<'t> {
    text: &'t str,
    entries: Vec<Entry<'t>>,
    parents: Vec<Parent>,
    table: String,
    open: Option<Open>,
}

impl<'t> Reader<'t> {
    fn line(&mut self, at: usize, line: &'t str) {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if !self.go_on(at, line, indent) {
            return;
        }
        let start = at + indent;
        if body.is_empty() {
            return;
        }
        let comment =
            ["#", "//", ";", "--", "REM ", "!", "%"].iter().find(|c| body.starts_with(**c));
        if let Some(mark) = comment
            && !(*mark == "--" && body.len() > 2 && body.as_bytes()[2].is_ascii_alphabetic())
        {
            let inner = body.trim_start_matches(['#', '/', ';', '!', ' ', '\t']);
            self.members(start + body.len() - inner.len(), inner, "", true);
            return;
        }
        if self.header(body) {
            return;
        }
        if let Some(password) = of_pgpass(body) {
            let end = start + body.trim_end().len();
            self.entries.push(Entry {
                name: "pgpass.password".to_owned(),
                value: Cow::Borrowed(password),
                start: end - password.len(),
                end,
                in_comment: false,
                is_bare: true,
            });
            return;
        }
        while self.parents.last().is_some_and(|p| {
            !p.bracket && p.indent >= indent && !(body.starts_with("- ") && p.indent == indent)
        }) {
            self.parents.pop();
        }
        let name = self.parents.last().map_or_else(|| self.table.clone(), |p| p.name.clone());
        self.members_at(start, body, &name, indent);
    }

    /// A line of a text that began earlier; says whether the line is still to be read.
    fn go_on(&mut self, at: usize, line: &'t str, indent: usize) -> bool {
        match &mut self.open {
            None => true,
            Some(Open::Quoted { marks, text, .. }) => {
                let end = line.find(*marks);
                text.push_str(line.get(..end.unwrap_or(line.len())).unwrap_or_default());
                text.push('\n');
                if let Some(end) = end {
                    self.finish_quoted(at + end);
                }
                false
            }
            Some(Open::Block { indent: outer, start: begins, end, text, .. }) => {
                if line.trim().is_empty() || indent > *outer {
                    if text.trim().is_empty() {
                        *begins = at + indent;
                    }
                    text.push_str(line.trim());
                    text.push('\n');
                    *end = at + line.len();
                    return false;
                }
                self.close();
                true
            }
        }
    }

    fn finish_quoted(&mut self, end: usize) {
        if let Some(Open::Quoted { name, start, text, .. }) = self.open.take() {
            let value = Cow::Owned(text.trim().to_owned());
            self.entries.push(Entry { name, value, start, end, in_comment: false, is_bare: false });
        }
    }

    fn close(&mut self) {
        let (name, text, start, end, is_bare) = match self.open.take() {
            Some(Open::Block { name, start, end, text, .. }) => (name, text, start, end, true),
            Some(Open::Quoted { name, start, text, .. }) => {
                (name, text, start, self.text.len(), false)
            }
            None => return,
        };
        let value = Cow::Owned(text.trim().to_owned());
        self.entries.push(Entry { name, value, start, end, in_comment: false, is_bare });
    }

    /// `[table]`, `[[table]]`
    fn header(&mut self, body: &str) -> bool {
        let inner = body.trim_end().strip_prefix('[').and_then(|b| b.split(']').next());
        let Some(inner) = inner.map(|i| i.trim_start_matches('[').trim()) else { return false };
        let is_name = |c: char| c.is_alphanumeric() || "_-. :\"'/".contains(c);
        let ends = body.trim_end().trim_end_matches(']').len() < body.trim_end().len()
            || body.contains("] #");
        if inner.is_empty()
            || !inner.chars().all(is_name)
            || !ends
            || inner.starts_with(['"', '\'']) && !body.contains("\".") && body.contains(',')
        {
            return false;
        }
        self.table = inner.replace(['"', '\''], "");
        self.parents.clear();
        true
    }

    /// The first member of a line may be what later lines are in.
    fn members_at(&mut self, start: usize, body: &'t str, parent: &str, indent: usize) {
        let mut offset = 0;
        let mut inside = indent;
        // A list of YAML, also of lists and of tables.
        while let Some(rest) = body.get(offset..).and_then(|b| b.strip_prefix("- ")) {
            let blanks = rest.len() - rest.trim_start().len();
            offset += 2 + blanks;
            inside = indent + offset;
        }
        for word in [
            "export ",
            "set ",
            "ENV ",
            "ARG ",
            "setenv ",
            "env ",
            "declare -x ",
            "declare ",
            "local ",
            "const ",
            "let ",
            "var ",
        ] {
            if let Some(rest) = body.get(offset..).and_then(|b| b.strip_prefix(word)) {
                offset += word.len() + rest.len() - rest.trim_start().len();
            }
        }
        let rest = body.get(offset..).unwrap_or_default();
        if let Some((name, separator)) = name_of(rest) {
            let value_at = offset + separator;
            let value = body.get(value_at..).unwrap_or_default();
            let trimmed = value.trim();
            let full = joined(parent, &name);
            let value_start = start + value_at + value.len() - value.trim_start().len();
            let block = trimmed.trim_start_matches(['|', '>', '-', '+']).trim();
            if trimmed.starts_with(['|', '>'])
                && (block.is_empty() || block.starts_with('#') || block.parse::<u8>().is_ok())
            {
                let text = String::new();
                self.open = Some(Open::Block {
                    name: full,
                    indent: inside,
                    start: value_start,
                    end: value_start,
                    text,
                });
                return;
            }
            if trimmed.is_empty() || trimmed.starts_with('#') {
                self.parents.push(Parent { indent: inside, name: full, bracket: false });
                return;
            }
            if matches!(trimmed, "[" | "{" | "(")
                || trimmed.ends_with('[')
                || trimmed.ends_with('{') && !trimmed.contains("${")
            {
                self.parents.push(Parent { indent: inside, name: full, bracket: true });
                return;
            }
            for marks in ["\"\"\"", "'''"] {
                if let Some(inner) = trimmed.strip_prefix(marks)
                    && !inner.contains(marks)
                {
                    let text = format!("{inner}\n");
                    self.open =
                        Some(Open::Quoted { name: full, marks, start: value_start + 3, text });
                    return;
                }
            }
            self.members(start + offset, rest, parent, false);
            return;
        }
        if let Some((name, word)) = rest.trim_end().split_once([' ', '\t'])
            && SPACED.contains(&name)
            && !word.trim().contains([' ', '\t'])
        {
            let word = word.trim();
            let end = start + offset + rest.trim_end().len();
            self.entries.push(Entry {
                name: joined(parent, name),
                value: Cow::Borrowed(word.trim_matches(['"', '\''])),
                start: end - word.len(),
                end,
                in_comment: false,
                is_bare: true,
            });
            return;
        }
        if let Some(labels) = block_labels(rest) {
            let name = joined(parent, &labels);
            self.parents.push(Parent { indent: inside, name, bracket: true });
            return;
        }
        if matches!(rest.trim_end_matches([',', ';', ' ']), "}" | "]" | ")") {
            if let Some(at) = self.parents.iter().rposition(|p| p.bracket) {
                self.parents.truncate(at);
            }
            return;
        }
        self.members(start + offset, rest, parent, false);
    }

    /// All members on one line: pairs, lists, tables within braces.
    fn members(&mut self, start: usize, body: &'t str, parent: &str, in_comment: bool) {
        let (mut start, mut body, mut in_comment) = (start, body, in_comment);
        let mut names: Vec<String> = vec![parent.to_owned()];
        let mut name = parent.to_owned();
        let mut at = 0;
        while at < body.len() {
            let rest = body.get(at..).unwrap_or_default();
            let Some(first) = rest.chars().next() else { break };
            match first {
                ' ' | '\t' | ',' => {
                    at += 1;
                    if first == ',' {
                        name = names.last().cloned().unwrap_or_default();
                    }
                }
                '{' | '[' if !rest.starts_with("{{") && !rest.starts_with("{%") => {
                    let is_deep = names.len() >= MAX_DEPTH;
                    names.push(if is_deep { String::new() } else { name.clone() });
                    at += 1;
                }
                '}' | ']' => {
                    if names.len() > 1 {
                        names.pop();
                    }
                    name = names.last().cloned().unwrap_or_default();
                    at += 1;
                }
                '#' if at > 0 => {
                    let inner = rest.trim_start_matches(['#', ' ']);
                    // What is behind it has no name of what is before.
                    start += at + rest.len() - inner.len();
                    (body, in_comment, at) = (inner, true, 0);
                    names = vec![String::new()];
                    name.clear();
                }
                _ => {
                    if let Some((found, separator)) = name_of(rest) {
                        name = joined(names.last().map_or("", String::as_str), &found);
                        at += separator;
                        continue;
                    }
                    at += self.value(start + at, rest, &name, names.len() > 1, in_comment);
                }
            }
        }
    }

    /// One value; says how long it is, with its marks.
    fn value(
        &mut self,
        start: usize,
        rest: &'t str,
        name: &str,
        in_list: bool,
        in_comment: bool,
    ) -> usize {
        let name = name.to_owned();
        let first = rest.as_bytes().first().copied().unwrap_or_default();
        if matches!(first, b'"' | b'\'' | b'`') {
            let (value, len) = quoted(rest, first, usize::MAX).unwrap_or_default();
            let is_closed = len > 1 && rest.as_bytes().get(len - 1) == Some(&first);
            let end = start + len - usize::from(is_closed);
            self.entries.push(Entry {
                name,
                value,
                start: start + 1,
                end,
                in_comment,
                is_bare: false,
            });
            return len;
        }
        let mut end = rest.len();
        let mut in_reference = false;
        for (at, c) in rest.char_indices() {
            work::read(1);
            let next = rest.get(at + c.len_utf8()..).unwrap_or_default();
            let stops = match c {
                '#' => at > 0 && rest.as_bytes()[at - 1] == b' ',
                ',' => in_list || next.starts_with(' ') && name_of(next.trim_start()).is_some(),
                '}' | ']' => in_list && !in_reference,
                ';' => next.trim_start().is_empty(),
                _ => false,
            };
            in_reference |= c == '$' && next.starts_with('{');
            if stops {
                end = at;
                break;
            }
        }
        let value = rest.get(..end).unwrap_or_default().trim_end();
        // The comma of a line of JSON.
        let value = value.strip_suffix(',').unwrap_or(value);
        let value_end = start + value.len();
        self.entries.push(Entry {
            name,
            value: Cow::Borrowed(value),
            start,
            end: value_end,
            in_comment,
            is_bare: true,
        });
        end.max(1)
    }
}

/// `host:port:database:user:password`, a line of PostgreSQL's password file.
fn of_pgpass(body: &str) -> Option<&str> {
    let line = body.trim_end();
    let mut fields = line.splitn(6, ':');
    let [host, port, database, user, password] = [(); 5].map(|()| fields.next());
    let (host, port, user, password) = (host?, port?, user?, password?);
    let is_port =
        port == "*" || (2..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let is_host = host == "*" || host.contains(['.']) || host.starts_with(char::is_alphabetic);
    let fits = fields.next().is_none()
        && is_host
        && is_port
        && !database?.is_empty()
        && user.starts_with(|c: char| c.is_alphabetic() || c == '*')
        && password.len() >= 4
        && !line.contains([' ', '\t', '/', '"']);
    fits.then_some(password)
}

/// The last label of `variable "db_password" {`, a block of HCL.
fn block_labels(rest: &str) -> Option<String> {
    let head = rest.trim_end().strip_suffix('{')?.trim_end();
    let (word, labels) = head.split_once(' ')?;
    let labels = labels.trim().strip_prefix('"')?.strip_suffix('"')?;
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let label = labels.rsplit('"').next()?;
    (word.chars().all(is_name) && !label.is_empty() && label.chars().all(is_name))
        .then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        entries(text).into_iter().map(|e| (e.name, e.value.into_owned())).collect()
    }

    #[test]
    fn each_format_gives_names_and_values() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("[db]\npassword = \"a\\\"b\" # c: d\n", &[("db.password", "a\"b"), ("c", "d")]),
            ("db:\n  password: abc\nuser: x\n", &[("db.password", "abc"), ("user", "x")]),
            ("export A_KEY=abc\n", &[("A_KEY", "abc")]),
            (
                "{\"a\": {\"b\": \"c\", \"d\": [1, \"e\"]}}",
                &[("a.b", "c"), ("a.d", "1"), ("a.d", "e")],
            ),
            ("tokens:\n- abc\n- def\n", &[("tokens", "abc"), ("tokens", "def")]),
            ("tokens = [\n  \"abc\",\n]\nx = 1\n", &[("tokens", "abc"), ("x", "1")]),
            ("key: |\n  one\n  two\nx: y\n", &[("key", "one\ntwo"), ("x", "y")]),
            ("a = \"\"\"\nb\nc\"\"\"\n", &[("a", "b\nc")]),
            ("- name: A\n  value: b\n", &[("name", "A"), ("value", "b")]),
            ("x = { password = 'p', n = 3 }", &[("x.password", "p"), ("x.n", "3")]),
            ("url: http://h:80/x\n", &[("url", "http://h:80/x")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "a: 1\nb: [x, 'yz']  # c\n";
        for entry in entries(text) {
            assert_eq!(text.get(entry.start..entry.end), Some(&*entry.value), "{entry:?}");
        }
    }
}
