//! Precision and recall on a labelled corpus: lines with secrets and lines that look
//! as if they had some, drawn with a fixed seed so that no secret lies in a file.

#![allow(clippy::print_stdout)]

mod benign;
mod draw;
mod secret;

use draw::Draw;
use fetchml_secrets::{Piece, Redactor, Rules, Source};

/// Lines of each kind on each surface.
const LINES: usize = 1000;

fn vendor() -> Rules {
    let source: Source = toml::from_str(include_str!("../../vendor.toml")).expect("TOML");
    Rules::new(&source).expect("the vendor's rules are sound")
}

/// Some of what went wrong, for whoever wants to mend it.
fn show(what: &str, lines: &[String]) {
    for line in lines.iter().take(25) {
        println!("{what}: {line}");
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn seeds() -> Vec<u64> {
    let given = std::env::var("FETCHML_CORPUS_SEED").ok();
    given.and_then(|text| text.parse().ok()).map_or_else(|| vec![20_261_126, 7], |seed| vec![seed])
}

#[test]
fn configurations() {
    let rules = vendor();
    for seed in seeds() {
        let mut draw = Draw::new(seed);
        let secret: Vec<String> = (0..LINES).map(|_| secret::config(&mut draw)).collect();
        let benign: Vec<String> = (0..LINES).map(|_| benign::config(&mut draw)).collect();
        let found = |line: &String| !rules.scan_config(line).is_empty();
        let missed: Vec<String> = secret.iter().filter(|l| !found(l)).cloned().collect();
        let wrong: Vec<String> = benign.iter().filter(|l| found(l)).cloned().collect();
        let hits = LINES - missed.len();
        let (precision, recall) = (share(hits, hits + wrong.len()), share(hits, LINES));
        println!("configuration, seed {seed}: precision {precision:.4} recall {recall:.4}");
        show("missed", &missed);
        show("wrong", &wrong);
        assert!(precision >= 0.98 && recall >= 0.99);
    }
}

/// All lines in one file, which no parser of any format would read.
#[test]
fn a_file_of_everything() {
    let rules = vendor();
    let mut draw = Draw::new(3);
    let lines: Vec<(bool, String)> = (0..2 * LINES)
        .map(|at| match at % 2 {
            0 => (true, secret::config(&mut draw)),
            _ => (false, benign::config(&mut draw)),
        })
        .collect();
    let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    let mut found = vec![false; lines.len()];
    for finding in rules.scan_config(&text) {
        found[text[..finding.span.start].matches('\n').count()] = true;
    }
    let of = |secret: bool, hit: bool| {
        let all = lines.iter().zip(&found);
        let some = all.filter(|((is, _), at)| *is == secret && **at == hit);
        some.map(|((_, line), _)| line.clone()).collect::<Vec<_>>()
    };
    let (hits, wrong) = (of(true, true), of(false, true));
    let precision = share(hits.len(), hits.len() + wrong.len());
    let recall = share(hits.len(), LINES);
    println!("one file: precision {precision:.4} recall {recall:.4}");
    show("missed", &of(true, false));
    show("wrong", &wrong);
    assert!(precision >= 0.98 && recall >= 0.99);
}

#[test]
fn logs() {
    let rules = vendor();
    let redacted = |line: &str| {
        let mut redactor = Redactor::new(&rules, &[]);
        let mut text = Vec::new();
        let mut out = |piece: Piece<'_>| match piece {
            Piece::Text(plain) => text.extend_from_slice(plain),
            Piece::Secret(rule) => text.extend_from_slice(rules.marker(rule).as_bytes()),
        };
        redactor.feed(&rules, line.as_bytes(), &mut out);
        redactor.finish(&rules, &mut out);
        String::from_utf8_lossy(&text).into_owned()
    };
    for seed in seeds() {
        let mut draw = Draw::new(seed);
        let secret: Vec<(String, String)> = (0..LINES).map(|_| secret::log(&mut draw)).collect();
        let benign: Vec<String> = (0..LINES).map(|_| benign::log(&mut draw)).collect();
        let missed: Vec<String> = secret
            .iter()
            .map(|(line, value)| (redacted(line), line, value))
            .filter(|(after, _, value)| after.contains(value.as_str()))
            .map(|(_, line, _)| line.clone())
            .collect();
        let altered: Vec<String> = benign
            .iter()
            .map(|line| (redacted(line), line))
            .filter(|(after, line)| after != *line)
            .map(|(after, line)| format!("{line}\n      -> {after}"))
            .collect();
        let (recall, noise) = (1.0 - share(missed.len(), LINES), share(altered.len(), LINES));
        println!("logs, seed {seed}: recall {recall:.4} harmless lines altered {noise:.4}");
        show("missed", &missed);
        show("altered", &altered);
        assert!(recall >= 0.99 && noise <= 0.02);
    }
}
