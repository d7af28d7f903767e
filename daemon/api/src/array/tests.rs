use super::*;
use crate::job::JobSpec;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};

const MOST: u64 = 100_000;

fn array(word: &str) -> Result<Expansion, String> {
    Expansion::read(Some(word), Vec::new(), MOST).map_err(|e| e.to_string())
}

/// Names and values as they are written.
type Written<'w> = &'w [(&'w str, &'w [&'w str])];

fn sweep(given: Written<'_>) -> Vec<(String, Vec<String>)> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    given.iter().map(|&(name, values)| (name.to_owned(), owned(values))).collect()
}

fn indices(word: &str) -> Vec<u64> {
    array(word).expect(word).members().map(|member| member.index).collect()
}

#[test]
fn indices_are_those_that_were_written() {
    assert_eq!(indices("1-3"), [1, 2, 3]);
    assert_eq!(indices("0-9:4"), [0, 4, 8]);
    assert_eq!(indices("7,3,9-11"), [7, 3, 9, 10, 11]);
    assert_eq!(indices("5"), [5]);
    let limited = array("1-100:2%4").expect("good");
    assert_eq!((limited.count(), limited.at_once()), (50, 4));
    assert_eq!(array("1-100").expect("good").at_once(), 0);
}

#[test]
fn what_is_no_array_is_refused_with_the_remedy() {
    for (word, part) in [
        ("", "no index: write 1-100"),
        ("1,,2", "no index"),
        ("a-b", "\"a-b\", which is no index"),
        ("-3", "no index"),
        ("5-1", "smaller index first"),
        ("1-5:0", "step is at least 1"),
        ("1-3,2", "the index 2 twice"),
        ("1-3%0", "%4 behind it"),
        ("1-3%", "%4 behind it"),
        ("%4", "the array has no jobs"),
        ("1-2000000000", "highest is 1000000000"),
        ("1-1000000", "has 1000000 jobs, the most is 100000"),
        ("0-1000000000,0-1000000000", "the most is 100000"),
    ] {
        let refused = array(word).expect_err(word);
        assert!(refused.contains(part), "{word}: {refused}");
    }
}

#[test]
fn a_sweep_is_every_combination_once_and_the_last_changes_fastest() {
    let given = sweep(&[("lr", &["0.1", "0.01"]), ("seed", &["1", "2", "3"])]);
    let all = Expansion::read(Some("%2"), given, MOST).expect("good");
    assert_eq!((all.count(), all.at_once()), (6, 2));
    let words: Vec<_> = all
        .members()
        .map(|m| format!("{}:{}/{}", m.index, m.variables[0].1, m.variables[1].1))
        .collect();
    assert_eq!(words, ["1:0.1/1", "2:0.1/2", "3:0.1/3", "4:0.01/1", "5:0.01/2", "6:0.01/3"]);
}

#[test]
fn what_is_no_sweep_is_refused_with_the_remedy() {
    let long = "x".repeat(MAX_VALUE_CHARS + 1);
    let cases: [(Written<'_>, &str); 8] = [
        (&[("1x", &["1"])], "the name \"1x\": use letters"),
        (&[("", &["1"])], "use letters"),
        (&[("FETCHML_X", &["1"])], "choose another"),
        (&[("index", &["1"])], "choose another"),
        (&[("a", &["1"]), ("a", &["2"])], "the name a twice"),
        (&[("a", &[])], "no value"),
        (&[("a", &[&long])], "pass it in a file"),
        (&[("a", &["\0"])], "pass it in a file"),
    ];
    for (given, part) in cases {
        let refused = Expansion::read(None, sweep(given), MOST).expect_err(part).to_string();
        assert!(refused.contains(part), "{refused}");
    }
    let both = Expansion::read(Some("1-3"), sweep(&[("a", &["1"])]), MOST).expect_err("both");
    assert!(both.to_string().contains("n=1..10"), "{both}");
    let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let huge = (0..20).map(|n| (format!("v{n}"), many.clone())).collect();
    let refused = Expansion::read(None, huge, MOST).expect_err("too many").to_string();
    assert!(refused.contains("has too many jobs, the most is 100000"), "{refused}");
    assert!(Expansion::read(None, Vec::new(), MOST).is_err());
}

#[test]
fn values_are_words_and_ranges_of_numbers() {
    let read = |text| values(text, 1000).map_err(|e| e.to_string());
    assert_eq!(read("0.1,0.01"), Ok(vec!["0.1".into(), "0.01".into()]));
    assert_eq!(read("1..3"), Ok(vec!["1".into(), "2".into(), "3".into()]));
    assert_eq!(read("-1..1,9"), Ok(vec!["-1".into(), "0".into(), "1".into(), "9".into()]));
    assert_eq!(read("0..100:50"), Ok(vec!["0".into(), "50".into(), "100".into()]));
    for word in ["../data", "v1..x", "a:b"] {
        assert_eq!(read(word), Ok(vec![word.to_owned()]), "{word} is a value");
    }
    for slip in ["0.1..0.5", "1..1e9", "0..1:0.1", "1...3"] {
        assert!(read(slip).is_err_and(|e| e.contains("of whole numbers")), "{slip}");
    }
    assert!(read("").is_err_and(|e| e.contains("empty value")));
    assert!(read("1,,2").is_err_and(|e| e.contains("empty value")));
    assert!(read("5..1").is_err_and(|e| e.contains("smaller number first")));
    assert!(read("1..5:0").is_err_and(|e| e.contains("at least 1")));
    let all = "-9223372036854775808..9223372036854775807";
    assert!(read(all).is_err_and(|e| e.contains("more than 1000 values")));
    assert!(read(&"1,".repeat(1001)).is_err());
}

#[test]
fn words_are_filled_with_what_the_job_has_and_nothing_else() {
    let member = Member { index: 7, variables: vec![("lr", "0.1"), ("brace", "{lr}")] };
    for (word, filled) in [
        ("--lr={lr}", "--lr=0.1"),
        ("{index}-{lr}", "7-0.1"),
        ("{{lr}", "{lr}"),
        ("{{{lr}}", "{0.1}"),
        ("{print $1}", "{print $1}"),
        ("{\"lr\": {lr}}", "{\"lr\": 0.1}"),
        ("{other}{", "{other}{"),
        ("{brace}", "{lr}"),
        ("größe{lr}é", "größe0.1é"),
        ("", ""),
    ] {
        assert_eq!(member.fill(word), filled, "{word}");
    }
}

#[test]
fn a_slip_in_a_name_is_told_and_other_braces_are_not() {
    let command = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let strangers = |array: Option<&str>, values, words| {
        let all = Expansion::read(array, sweep(values), MOST).expect("good");
        all.strangers(&command(words)).into_iter().collect::<Vec<_>>().join(" ")
    };
    let lr: Written<'_> = &[("lr", &["1", "2"])];
    assert_eq!(strangers(None, lr, "train --lr {lrr} {b} {lrr}"), "b lrr");
    assert_eq!(strangers(None, lr, "docker ps {{Names}} {{lr}} ${HOME} a${lrr}"), "");
    assert_eq!(strangers(None, lr, "train $ {lrr}"), "lrr");
    assert_eq!(strangers(None, lr, "train --lr {lr} {other}"), "", "all are used");
    assert_eq!(strangers(None, lr, "awk {print $1} {2}"), "", "no names");
    assert_eq!(strangers(Some("1-3"), &[], "echo {idx} {index"), "idx");
    assert_eq!(strangers(Some("1-3"), &[], "echo {index}"), "");
}

#[test]
fn each_job_has_its_place_name_command_and_variables() {
    let common = JobSpec {
        name: "train".into(),
        ..JobSpec::plain(vec!["python3".into(), "t.py".into(), "--lr={lr}".into()])
    };
    let given = sweep(&[("lr", &["0.1", "0.01"])]);
    let all = Expansion::read(Some("%3"), given, MOST).expect("good");
    let specs = all.specs(&common, 1 << 20).expect("small");
    assert_eq!(specs[1].name, "train[2]");
    assert_eq!(specs[1].command[2], "--lr=0.01");
    assert_eq!(specs[1].env["lr"], "0.01");
    let place = specs[1].queueing.array.expect("a place");
    assert_eq!((place.index, place.count, place.at_once), (2, 2, 3));
    let long = JobSpec { name: "é".repeat(128), ..common.clone() };
    let named = all.specs(&long, 1 << 20).expect("small").remove(0).name;
    assert!(named.chars().count() == 128 && named.ends_with("é[1]"), "{named}");
    assert_eq!(all.specs(&common, 40), Err(TooLarge { most: 40 }));
}

fn stretch() -> impl Strategy<Value = (u64, u64, u64)> {
    (0u64..5000, 0u64..300, 1u64..7).prop_map(|(first, length, step)| (first, first + length, step))
}

proptest! {
    /// As many as were counted, each once, those that were written and no others.
    #[test]
    fn an_array_has_each_index_once(stretches in prop::collection::vec(stretch(), 1..6)) {
        let word: Vec<_> =
            stretches.iter().map(|(first, last, step)| format!("{first}-{last}:{step}")).collect();
        let written: Vec<u64> = stretches
            .iter()
            .flat_map(|&(first, last, step)| (first..=last).filter(move |i| (i - first) % step == 0))
            .collect();
        let apart: BTreeSet<_> = written.iter().copied().collect();
        match array(&word.join(",")) {
            Ok(all) => {
                let found: Vec<_> = all.members().map(|m| m.index).collect();
                prop_assert_eq!(found.len() as u64, all.count());
                prop_assert_eq!(&found, &written);
                prop_assert_eq!(apart.len(), written.len());
            }
            Err(refused) => {
                prop_assert!(apart.len() < written.len(), "{}", refused);
                prop_assert!(refused.contains("twice"));
            }
        }
    }

    /// Every combination of a sweep comes once, under an index of its own.
    #[test]
    fn a_sweep_has_each_combination_once(sizes in prop::collection::vec(1usize..6, 1..5)) {
        let given: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, &size)| (format!("v{n}"), (0..size).map(|v| v.to_string()).collect()))
            .collect();
        let all = Expansion::read(None, given, MOST).expect("small");
        let product: usize = sizes.iter().product();
        let combinations: HashSet<_> =
            all.members().map(|m| format!("{:?}", m.variables)).collect();
        prop_assert_eq!(combinations.len(), product);
        let indices: Vec<_> = all.members().map(|m| m.index).collect();
        prop_assert_eq!(indices, (1..=product as u64).collect::<Vec<_>>());
    }

    /// No word is read without an end, a panic, or more than the bound.
    #[test]
    fn any_words_are_read_or_refused(word in "[-0-9,:%. a]{0,20}", most in 0u64..50) {
        if let Ok(all) = Expansion::read(Some(&word), Vec::new(), most) {
            prop_assert!(all.count() <= most);
            prop_assert_eq!(all.members().count() as u64, all.count());
        }
        if let Ok(read) = values(&word, most) {
            prop_assert!(read.len() as u64 <= most);
        }
    }

    /// A word without a brace stays; one whose braces are doubled is what it was.
    #[test]
    fn words_that_ask_for_nothing_stay(word in "[a-z{}$ é]{0,20}") {
        let member = Member { index: 1, variables: Vec::new() };
        prop_assert_eq!(member.fill(&word.replace('{', "{{")), word);
    }
}
