//! Texts that are made to take long: beginnings without ends, and names within values of
//! other names. What is counted is bytes that are read, so that no clock decides.

use crate::rules::tests::vendor;
use crate::{Redactor, work};

/// Of each byte of a text so many may be read.
const MOST_READS: u64 = 450;

/// Each is repeated until the text is long.
const UNITS: &[&str] = &[
    // Names, and values that are none.
    "key=",
    "pass=word=",
    "key",
    "key.",
    "key-",
    "key=a&",
    "key=a,b;",
    "key=(",
    "key=a{",
    "key=[",
    "key=<",
    "key=\\",
    "key=\"",
    "key=\"key='key=`",
    "key=\\\"\\\\",
    "key=\"\\\"",
    "password= ",
    "password: ",
    "password=${",
    "password=environ",
    "token=/a",
    "password=/abc/def/",
    "secret=environ,",
    "token=\"os.getenv ",
    "key is ",
    "token token ",
    "key', '",
    "--token ",
    "key=MIIB",
    "key=sha256:",
    "key: aB3dE5fG7hJ9kL1mN3pQ ",
    "<key>",
    "key%3D",
    "key=b'",
    // Colours.
    "key=\u{1b}[1m",
    "key\\u001b[1m=",
    "\u{1b}[1",
    // Headers and options.
    "Bearer+",
    "Basic+",
    "Basic ",
    "key=Bearer ",
    "cookie: ",
    "cookie: a***=b ",
    "set-cookie: a ",
    "--user=",
    "--user=a:${",
    "-u a:${ ",
    "--user=\"a:",
    // Keys, URLs, shapes.
    "-----BEGIN ",
    "-----BEGIN x-----",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY----------END x-----",
    "-----BEGIN PRIVATE KEY----------END ",
    "://a:b",
    "://a:${",
    "x://a:b@",
    "%3A%2F%2F",
    "%3A%2F%2Fa%3A",
    ":\\/\\/",
    "nfp_",
    "sk-ant-",
    "-eyJhbGci",
    "-eyJ",
    "npm_",
    "xoxb-",
    "glpat-",
    "AKIA",
    "ghp_",
    // Letters, blanks and marks alone.
    "a",
    "QUJD",
    " ",
    "\"",
    "[",
    "\\",
    "<",
    "=",
    "}",
    ";",
    ";  ",
    "\n",
    // Lists, tables and comments of configurations.
    "a,",
    "1, ",
    "a:b,",
    "password:x,",
    ", \"\\U",
    "x${}",
    "{a=",
    "{a=1,",
    "a={\n",
    "a:\n",
    "x #",
    "a=b #",
    "name: x\nvalue: y\n",
    "- ",
    "a: |\n",
    "a: \"\"\"",
];

/// What a text costs as a configuration, as a list in one, as a value, as a log, and as a
/// log that comes in pieces to who knows secrets by heart.
fn costs(body: &str) -> [u64; 5] {
    let list = format!("x=[{body}");
    let injected = [b"pa$$w0rd-1234".to_vec(), b"key=key=key=kez".to_vec(), b"a".repeat(40)];
    [
        work::of(|| drop(vendor().scan_config(body))),
        work::of(|| drop(vendor().scan_config(&list))),
        work::of(|| drop(vendor().judge_value("key", body))),
        work::of(|| drop(vendor().scan_log(body.as_bytes()))),
        work::of(|| {
            let mut redactor = Redactor::new(vendor(), &injected);
            for piece in body.as_bytes().chunks(4000) {
                redactor.feed(vendor(), piece, |_| ());
            }
            redactor.finish(vendor(), |_| ());
        }),
    ]
}

#[test]
fn no_text_costs_more_than_by_its_length() {
    for unit in UNITS {
        for length in [8 << 10, 64 << 10] {
            let body = unit.repeat(length / unit.len());
            let most = MOST_READS * length as u64;
            let costs = costs(&body);
            assert!(costs.iter().all(|cost| *cost <= most), "{unit:?} {length}: {costs:?}");
        }
    }
}

#[test]
fn a_mark_far_behind_is_looked_for_once() {
    let far = "a".repeat(60_000);
    for body in [
        format!("x=[{far}${{{}", "}".repeat(60_000)),
        format!("x={}{}", ";".repeat(60_000), " ".repeat(60_000)),
        format!("{}\n", "key=\"x ".repeat(10_000)),
        (0..500).map(|slashes| format!("key={}\"", "\\".repeat(slashes))).collect(),
    ] {
        let costs = costs(&body);
        let most = MOST_READS * body.len() as u64;
        assert!(costs.iter().all(|cost| *cost <= most), "{costs:?}");
    }
}

#[test]
fn a_value_that_is_long_is_found_whole() {
    for length in [511, 512, 513, 5000, 70_000] {
        let word = "Zq9x".repeat(length / 4 + 1);
        let word = &word[..length];
        for (before, after) in [
            ("password=", " x"),
            ("password='", "' x"),
            ("token: ", ", y"),
            ("?key=", "&x=1"),
            ("Bearer ", " x"),
            ("--user bob:", " x"),
            ("Cookie: sid=", "\n"),
        ] {
            let line = format!("{before}{word}{after}");
            let spans = vendor().scan_log(line.as_bytes());
            let end = spans.first().map(|span| (spans.len(), span.end));
            assert_eq!(end, Some((1, before.len() + length)), "{before} {length}");
            let refused = vendor().scan_config(&format!("password = \"{word}\"\n"));
            assert_eq!(refused.len(), 1, "{length}");
            assert_eq!(refused[0].span.end, "password = \"".len() + length);
        }
    }
}
