//! Passwords that programs take on their command line: behind an option of one letter, or
//! at a place of their own. What stands there is told by the program's name alone.

use super::{Finder, Found, MAX_JUDGED_BYTES, Span};
use crate::charset::CharSet;
use crate::entropy;
use crate::names::Kind;
use crate::rules;
use crate::work;

/// So far back the program's name is looked for.
const MAX_COMMAND_BYTES: usize = 240;
const BLANK: CharSet = CharSet::of(b" \t");
/// What ends a word of a command line that is printed, or written as a list.
const ENDS: CharSet = CharSet::of(b" \t\r\n\"'`,;|&()[]{}<>\x1b");

/// How an option and its password are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `-p word`
    Apart,
    /// `-pword`
    Glued,
    Either,
    /// `-U user%word`
    Behind(u8),
}

struct Tool {
    names: &'static [&'static str],
    flag: u8,
    form: Form,
    /// A word that must stand between: `docker run -p` is about a port.
    with: &'static str,
}

const fn tool(names: &'static [&'static str], flag: u8, form: Form, with: &'static str) -> Tool {
    Tool { names, flag, form, with }
}

const TOOLS: [Tool; 22] = [
    tool(&["sshpass"], b'p', Form::Either, ""),
    tool(
        &["docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "crane", "az", "oc"],
        b'p',
        Form::Apart,
        "login",
    ),
    tool(
        &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "mycli"],
        b'p',
        Form::Glued,
        "",
    ),
    tool(
        &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"],
        b'p',
        Form::Apart,
        "",
    ),
    tool(&["cqlsh", "beeline", "nodetool", "impala-shell"], b'p', Form::Apart, ""),
    tool(&["vsql", "wpscan", "xmlsec1"], b'w', Form::Apart, ""),
    tool(&["redis-cli", "valkey-cli", "keydb-cli", "redis-benchmark"], b'a', Form::Apart, ""),
    tool(&["ipmitool", "ipmipower", "racadm"], b'P', Form::Apart, ""),
    tool(&["racadm", "psftp"], b'p', Form::Apart, ""),
    tool(&["zip", "unzip", "zipcloak"], b'P', Form::Either, ""),
    tool(&["7z", "7za", "7zz", "7zr", "rar", "unrar"], b'p', Form::Glued, ""),
    tool(
        &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldappasswd"],
        b'w',
        Form::Either,
        "",
    ),
    tool(&["mosquitto_pub", "mosquitto_sub", "mosquitto_rr"], b'P', Form::Apart, ""),
    tool(&["sqlcmd", "bcp", "osql", "isql", "tsql"], b'P', Form::Either, ""),
    tool(&["smbclient", "rpcclient", "smbget", "smbcacls"], b'U', Form::Behind(b'%'), ""),
    tool(&["http", "https", "httpie", "xh", "ab"], b'a', Form::Behind(b':'), ""),
    tool(&["lftp", "ncftp"], b'u', Form::Behind(b','), ""),
    tool(&["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"], b'A', Form::Apart, ""),
    tool(&["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"], b'X', Form::Apart, ""),
    tool(&["ssh-keygen"], b'N', Form::Apart, ""),
    tool(&["openssl"], b'k', Form::Apart, ""),
    tool(
        &["smbmap", "crackmapexec", "plink", "pscp", "xfreerdp", "rdesktop"],
        b'p',
        Form::Apart,
        "",
    ),
];

/// Letters of options that say where to look.
pub(crate) const FLAGS: &[u8] = b"pPaAwUuXNk";

/// Those whose password may follow without a blank.
pub(crate) const GLUED: &[u8] = b"pPw";

/// Programs and statements that say where to look, and have their password at a place.
pub(crate) const VERBS: [&[u8; 4]; 19] = [
    b"rclo", b"iini", b"snyk", b"vaul", b"pdo-", b"mysq", b"o-se", b"mc a", b"mc c", b"rabb",
    b"htpa", b"wand", b"echo", b"iden", b"inse", b"thin", b"sqlp", b"/use", b":543",
];

/// What reads a password from its standard input.
const READERS: [&[u8]; 12] = [
    b"sudo -S",
    b"--stdin",
    b"password-stdin",
    b"passphrase-fd",
    b"chpasswd",
    b"kinit",
    b"cryptsetup",
    b"smbpasswd",
    b"htpasswd -i",
    b"--with-token",
    b"secret create",
    b"secrets versions add",
];

/// A word, and where it ends with its marks. `None`: more text is needed.
struct Word {
    start: usize,
    end: usize,
    after: usize,
}

/// The word that begins here, after blanks.
fn word(text: &[u8], at: usize, last: bool) -> Option<Word> {
    let at = at + BLANK.run(text.get(at..).unwrap_or_default());
    let rest = text.get(at..).unwrap_or_default();
    let (start, mark) = match rest.first() {
        Some(mark @ (b'"' | b'\'')) => (at + 1, Some(*mark)),
        _ => (at, None),
    };
    let shown = text.get(start..).unwrap_or_default();
    let shown = shown.get(..MAX_JUDGED_BYTES).unwrap_or(shown);
    let ends = |byte: &u8| match mark {
        Some(mark) => *byte == mark || *byte == b'\n',
        None => ENDS.has(*byte),
    };
    let run = shown.iter().position(ends);
    work::read(run.unwrap_or(shown.len()));
    if run.is_none() && !last && shown.len() < MAX_JUDGED_BYTES {
        return None;
    }
    let end = start + run.unwrap_or(shown.len());
    Some(Word { start, end, after: end + usize::from(mark.is_some()) })
}

impl Finder<'_> {
    /// ` -p word` and its kin; `hit` is what stands before the hyphen.
    pub(super) fn option(&self, text: &[u8], hit: usize, last: bool) -> Found {
        let Some(&[before, b'-', flag]) =
            text.get(hit..hit + 3).and_then(|three| three.first_chunk::<3>())
        else {
            return Found::No;
        };
        let Some(form) = form_of(text, hit, flag) else { return Found::No };
        // ["mysql", "-p", "word"]
        let listed = matches!(before, b'"' | b'\'');
        let mut at = hit + 3;
        let apart = match text.get(at) {
            None if !last => return Found::Open(hit),
            None => return Found::No,
            Some(mark) if listed && *mark == before => {
                let rest = text.get(at + 1..).unwrap_or_default();
                at += 1 + CharSet::of(b" ,").run(rest);
                true
            }
            Some(byte) => BLANK.has(*byte),
        };
        let fits = match form {
            Form::Apart => apart,
            Form::Glued => !apart,
            Form::Either | Form::Behind(_) => true,
        };
        if !fits {
            return Found::No;
        }
        let Some(word) = word(text, at, last) else { return Found::Open(hit) };
        let given = text.get(word.start..word.end).unwrap_or_default();
        let skip = match form {
            Form::Behind(mark) => match given.iter().position(|byte| *byte == mark) {
                Some(at) => at + 1,
                None => return Found::No,
            },
            _ => 0,
        };
        self.told(text, word.start + skip, word.end, last)
    }

    /// A program or a statement that has its password at a place.
    pub(super) fn verb(&self, text: &[u8], hit: usize, last: bool) -> Found {
        if text.get(hit) == Some(&b':') {
            return self.of_pgpass(text, hit, last);
        }
        if matches!(text.get(hit), Some(b'o' | b'O')) {
            return self.secure_string(text, hit, last);
        }
        let is_start = hit.checked_sub(1).and_then(|at| text.get(at)).is_none_or(|byte| {
            !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'.')
        });
        if !is_start {
            return Found::No;
        }
        let rest = text.get(hit..).unwrap_or_default();
        let line = rest.iter().take(MAX_JUDGED_BYTES).position(|byte| *byte == b'\n');
        work::read(line.unwrap_or(rest.len().min(MAX_JUDGED_BYTES)));
        if line.is_none() && !last && rest.len() < MAX_JUDGED_BYTES {
            return if could_be(rest) { Found::Open(hit) } else { Found::No };
        }
        let line = rest.get(..line.unwrap_or(rest.len().min(MAX_JUDGED_BYTES))).unwrap_or_default();
        let place = if begins(line, b"mc alias set ") {
            nth(line, 13, 3)
        } else if begins(line, b"mc config host add ") {
            nth(line, 19, 3)
        } else if begins(line, b"rabbitmqctl ") {
            behind(line, &[b"add_user ", b"change_password ", b"authenticate_user "])
                .and_then(|at| nth(line, at, 1))
        } else if begins(line, b"htpasswd -") {
            nth(line, 0, 1).filter(|word| line[word.start..word.end].contains(&b'b')).and_then(
                |options| {
                    let no_file = line[options.start..options.end].contains(&b'n');
                    nth(line, options.after, if no_file { 1 } else { 2 })
                },
            )
        } else if begins(line, b"wandb login ") {
            let mut words = (0..4).filter_map(|n| nth(line, 12, n));
            words.find(|word| {
                let given = &line[word.start..word.end];
                given.len() >= 32 && entropy::is_hex(given)
            })
        } else if begins(line, b"identified ") {
            behind(line, &[b" by password ", b" by "])
                .and_then(|at| nth(line, at, 0))
                .filter(|word| matches!(line.get(word.start.wrapping_sub(1)), Some(b'\'' | b'"')))
        } else if begins(line, b"echo ") {
            piped(line)
        } else if let Some(at) = AFTER.iter().find_map(|a| begins(line, a).then_some(a.len())) {
            nth(line, at, 0)
        } else if let Some(at) = CALLS.iter().find_map(|a| begins(line, a).then_some(a.len())) {
            argument(line, at, 2).filter(|word| word.after > word.end)
        } else if begins(line, b"insert into ") {
            self.inserted(line)
        } else if begins(line, b"thin:") {
            behind_slash(line, 5)
        } else if begins(line, b"sqlplus ") {
            (0..4).find_map(|n| nth(line, 8, n).and_then(|word| behind_slash(line, word.start)))
        } else if begins(line, b"/user:") && has_net_use(text, hit) {
            nth(line, 0, 1)
        } else {
            None
        };
        match place {
            Some(word) => self.told(text, hit + word.start, hit + word.end, last),
            None => Found::No,
        }
    }

    /// `ConvertTo-SecureString "…"`
    fn secure_string(&self, text: &[u8], hit: usize, last: bool) -> Found {
        const REST: &[u8] = b"o-SecureString ";
        let rest = text.get(hit..).unwrap_or_default();
        let shown = rest.get(..REST.len()).unwrap_or(rest);
        if !REST.get(..shown.len()).is_some_and(|known| shown.eq_ignore_ascii_case(known)) {
            return Found::No;
        }
        if shown.len() < REST.len() {
            return if last { Found::No } else { Found::Open(hit) };
        }
        match word(text, hit + REST.len(), last) {
            None => Found::Open(hit),
            Some(word) if word.after > word.end => self.told(text, word.start, word.end, last),
            Some(_) => Found::No,
        }
    }

    /// `host:5432:database:user:password`, a line of PostgreSQL's password file.
    fn of_pgpass(&self, text: &[u8], hit: usize, last: bool) -> Found {
        const FIELD: CharSet = CharSet::of(b"0-9A-Za-z_.*-");
        let earlier = text.get(hit.saturating_sub(MAX_COMMAND_BYTES)..hit).unwrap_or_default();
        let host = FIELD.run_back(earlier);
        let is_alone = hit.checked_sub(host + 1).and_then(|at| text.get(at));
        if host == 0 || is_alone.is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Found::No;
        }
        let mut at = hit;
        for _ in 0..3 {
            let rest = text.get(at + 1..).unwrap_or_default();
            let run = FIELD.run(rest.get(..MAX_JUDGED_BYTES).unwrap_or(rest));
            match rest.get(run) {
                None if !last => return Found::Open(hit),
                Some(b':') if run > 0 => at += 1 + run,
                _ => return Found::No,
            }
        }
        match word(text, at + 1, last) {
            None => Found::Open(hit),
            Some(word) if word.start == at + 1 => self.told(text, word.start, word.end, last),
            Some(_) => Found::No,
        }
    }

    /// `INSERT INTO users (name, password) VALUES ('bob', '…')`
    fn inserted(&self, line: &[u8]) -> Option<Word> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = open + line.get(open..)?.iter().position(|byte| *byte == b')')?;
        let mut columns = line.get(open + 1..close)?.split(|byte| *byte == b',');
        let number = columns.position(|column| {
            let quotes = CharSet::of(b" \t`\"[]");
            let name = column.get(quotes.run(column)..).unwrap_or_default();
            let name = name.get(..name.len() - quotes.run_back(name)).unwrap_or_default();
            self.rules.kind(name) == Kind::Secret
        })?;
        let values = close + line.get(close..)?.iter().position(|byte| *byte == b'(')? + 1;
        let value = argument(line, values, number)?;
        (value.after > value.end).then_some(value)
    }

    /// What is there, if it can be a secret: to its end, wherever that is.
    fn told(&self, text: &[u8], start: usize, end: usize, last: bool) -> Found {
        let secret = text.get(start..end).unwrap_or_default();
        let is_word = secret.iter().any(u8::is_ascii_alphanumeric);
        if secret.len() < 3
            || !is_word
            || secret.starts_with(b"-")
            || secret.starts_with(b"$")
            || self.rules.is_void(secret)
            || self.is_spoken_of(secret)
        {
            return Found::No;
        }
        let rule = self.any_shape(text, start).map_or(rules::NAMED, |span| span.rule);
        let mut end = end;
        if end - start >= MAX_JUDGED_BYTES - MAX_COMMAND_BYTES {
            let mark = start.checked_sub(1).and_then(|at| text.get(at)).copied();
            let rest = text.get(end..).unwrap_or_default();
            let ends = |byte: &u8| match mark {
                Some(mark @ (b'"' | b'\'')) => *byte == mark || *byte == b'\n',
                _ => ENDS.has(*byte),
            };
            match rest.iter().position(ends) {
                Some(more) => end += more,
                None if last => end = text.len(),
                None => return Found::Open(start),
            }
            work::read(end - start);
        }
        Found::Yes(Span { start, end, rule })
    }
}

/// How the program that stands before an option takes a password with it.
fn form_of(text: &[u8], hit: usize, flag: u8) -> Option<Form> {
    let command = text.get(hit.saturating_sub(MAX_COMMAND_BYTES)..hit)?;
    let line = command.iter().rposition(|b| matches!(b, b'\n' | b'|' | b';' | b'&' | b'`'));
    let command = command.get(line.map_or(0, |at| at + 1)..)?;
    work::read(command.len());
    let mut between = false;
    let words = command.rsplit(|byte| ENDS.has(*byte)).filter(|word| !word.is_empty());
    for word in words {
        let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or(word);
        for tool in TOOLS.iter().filter(|tool| tool.flag == flag) {
            if tool.names.iter().any(|known| known.as_bytes() == name) {
                return (tool.with.is_empty() || between).then_some(tool.form);
            }
        }
        between |= word == b"login";
    }
    None
}

/// Programs of which the first argument is a secret.
const AFTER: [&[u8]; 4] = [b"rclone obscure ", b"iinit ", b"snyk auth ", b"vault login "];
/// Calls of which the third argument is a password, as traces of PHP show them.
const CALLS: [&[u8]; 4] =
    [b"PDO->__construct(", b"PDO::__construct(", b"mysqli_connect(", b"mysqli->__construct("];

/// The argument of this number.
fn argument(line: &[u8], mut at: usize, number: usize) -> Option<Word> {
    for _ in 0..number {
        let before = word(line, at, true)?;
        at = before.after + CharSet::of(b", \t").run(line.get(before.after..)?);
    }
    word(line, at, true)
}

fn begins(line: &[u8], with: &[u8]) -> bool {
    line.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

/// Whether a line that is not there yet may become one of a verb.
fn could_be(rest: &[u8]) -> bool {
    [
        &b"mc alias set "[..],
        b"mc config host add ",
        b"rabbitmqctl ",
        b"htpasswd -",
        b"wandb login ",
        b"identified ",
        b"echo ",
        b"insert into ",
        b"thin:",
        b"sqlplus ",
        b"/user:",
    ]
    .iter()
    .chain(&AFTER)
    .chain(&CALLS)
    .any(|verb| {
        let shown = verb.len().min(rest.len());
        verb.get(..shown).is_some_and(|verb| begins(rest, verb))
    })
}

/// Behind the first of these.
fn behind(line: &[u8], words: &[&[u8]]) -> Option<usize> {
    words.iter().find_map(|word| {
        let at = line.windows(word.len()).position(|w| w.eq_ignore_ascii_case(word))?;
        Some(at + word.len())
    })
}

/// The word of this number, of those from a place on.
fn nth(line: &[u8], mut at: usize, number: usize) -> Option<Word> {
    for n in 0..=number {
        let found = word(line, at, true).filter(|word| word.end > word.start)?;
        if n == number {
            return Some(found);
        }
        at = found.after;
    }
    None
}

/// `user/password@host`, as Oracle has it.
fn behind_slash(line: &[u8], at: usize) -> Option<Word> {
    let rest = line.get(at..)?;
    let user = CharSet::of(b"0-9A-Za-z_.$-").run(rest);
    let secret = rest.get(user + 1..).filter(|_| user > 0 && rest.get(user) == Some(&b'/'))?;
    let end = secret.iter().position(|byte| *byte == b'@' || ENDS.has(*byte))?;
    let start = at + user + 1;
    (secret.get(end) == Some(&b'@')).then_some(Word { start, end: start + end, after: start + end })
}

/// Whether `net use` stands before on the line.
fn has_net_use(text: &[u8], hit: usize) -> bool {
    let before = text.get(hit.saturating_sub(MAX_COMMAND_BYTES)..hit).unwrap_or_default();
    let line = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.get(line..).unwrap_or_default();
    line.windows(8).any(|window| window.eq_ignore_ascii_case(b"net use "))
}

/// `echo word | sudo -S …`, `echo user:word | chpasswd`
fn piped(line: &[u8]) -> Option<Word> {
    let pipe = line.iter().position(|byte| *byte == b'|')?;
    let reader = line.get(pipe..)?;
    READERS.iter().find(|known| reader.windows(known.len()).any(|window| window == **known))?;
    let mut given = nth(line, 5, 0)?;
    if matches!(line.get(given.start..given.end)?, b"-n" | b"-e" | b"-ne") {
        given = nth(line, given.after, 0)?;
    }
    let text = line.get(given.start..given.end)?;
    if reader.windows(8).any(|window| window == b"chpasswd")
        && let Some(colon) = text.iter().position(|byte| *byte == b':')
    {
        given.start += colon + 1;
    }
    (given.end < pipe).then_some(given)
}
