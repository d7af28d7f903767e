use super::*;
use std::path::Path;

fn args(text: &str) -> Vec<Option<u64>> {
    match Question::read("call", text).expect("a question") {
        Question::Call { args, .. } => args,
        other => panic!("not a call: {other:?}"),
    }
}

#[test]
fn arguments_have_the_names_that_denials_are_told_with() {
    assert!(args("ptrace").is_empty());
    assert!(args("socket()").is_empty());
    assert_eq!(args("socket(AF_NETLINK)"), [Some(16)]);
    assert_eq!(args("socket(AF_INET, 0x1, 6)"), [Some(2), Some(1), Some(6)]);
    assert_eq!(args("ioctl(TIOCSTI)"), [None, Some(0x5412)]);
    assert_eq!(args("ioctl(0, TIOCSTI)"), [Some(0), Some(0x5412)]);
    assert_eq!(args("unshare(CLONE_NEWUSER|CLONE_NEWNS)"), [Some(0x1002_0000)]);
    assert_eq!(args("chmod(0, 04755)"), [Some(0), Some(0o4755)]);
    assert_eq!(args("socket(AF_INET, SOCK_RAW|SOCK_CLOEXEC)"), [Some(2), Some(0x8_0003)]);
    assert_eq!(args("mmap(_, _, PROT_READ|PROT_EXEC)"), [None, None, Some(5)]);
    assert_eq!(args("mknod(_, S_IFCHR|0600)"), [None, Some(0o020_600)]);
    assert_eq!(args("999(1)"), [Some(1)]);
}

#[test]
fn what_cannot_be_a_question_is_refused_with_the_form() {
    let no = |kind, text| Question::read(kind, text).expect_err("not a question").to_string();
    assert!(no("call", "socket(AF_INET").contains("'socket(AF_INET, 1)'"));
    assert!(no("call", "socket(AF_INETT)").contains("\"AF_INETT\" is no number"));
    assert!(no("call", "read(1,2,3,4,5,6,7)").contains("at most six"));
    assert!(no("call", "").contains("write what"));
    assert!(no("delete", "/x").contains("read, write, execute or connect"));
    for (text, part) in [
        ("example.org", "there is no port"),
        ("127.0.0.1", "there is no port"),
        ("::1", "stands in brackets"),
        ("[::1]", "no port"),
        ("[::g]:1", "no IPv6 address"),
        ("1.2.3:80", "neither an address nor the name"),
        ("300.1.1.1:80", "neither an address"),
        ("exa mple:80", "neither an address"),
        ("-x:80", "neither an address"),
        ("http://example.org:80", "a URL is no address"),
        ("localhost:0", "no port from 1 to 65535"),
        ("localhost:65536", "no port"),
        ("localhost:+80", "no port"),
        ("localhost:", "no port"),
        ("unix:run/x", "begins with / or @"),
        ("unix:", "begins with / or @"),
        ("@", "the name is empty"),
    ] {
        let words = no("connect", text);
        assert!(words.contains(part), "{text}: {words}");
        assert!(words.contains("write HOST:PORT, [IPv6]:PORT, unix:/PATH or unix:@NAME"));
    }
    let long = format!("/{}", "x".repeat(200));
    assert!(no("connect", &long).contains("more than 107 bytes"));
    let long = no("call", &"x".repeat(5000));
    assert!(long.contains("longer than 4096") && long.len() < 300, "{long}");
}

#[test]
fn an_answer_names_the_other_profiles_that_do_not_refuse() {
    let dir = tempfile::tempdir().expect("a directory");
    let profiles = dir.path().join("profiles");
    std::fs::create_dir(&profiles).expect("a directory");
    let text = "description = \"x\"\nextends = \"default\"\nnetwork_mode = \"loopback\"\n";
    std::fs::write(profiles.join("looped.toml"), text).expect("a file");
    if !std::fs::metadata(&profiles).is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        // Overrides must belong to root.
        return;
    }
    let library = Library::load::<&Path>(&[dir.path()]).expect("a good profile");
    let profile = library.profile("default").expect("it exists");
    let filter = library.filter(&profile).expect("it is compiled");
    let ask = |kind, text| {
        let question = Question::read(kind, text).expect("a question");
        library.answer(&question, &profile, &filter).expect("an answer")
    };
    let answer = ask("connect", "127.0.0.1:80");
    assert_eq!(answer.explanation.verdict, Verdict::Denied);
    assert!(answer.others.iter().any(|o| o.profile == "looped" && o.verdict == Verdict::Allowed));
    assert!(!ask("call", "reboot").others.iter().any(|o| o.profile == "looped"));
    assert_eq!(ask("call", "socket(AF_INET)").explanation.question, "socket(AF_INET)");
    let json = serde_json::to_value(&answer).expect("JSON");
    assert_eq!(json["verdict"], "denied");
}

#[test]
fn a_name_longer_than_any_is_compared_with_none_and_not_repeated_whole() {
    let library = Library::load::<&Path>(&[]).expect("the built-in profiles");
    let long = "default".repeat(100_000);
    let error = library.profile(&long).expect_err("there is none").to_string();
    assert!(error.contains("use one of") && error.len() < 300, "{error}");
    assert_eq!(crate::problem::nearest(&long[..65], ["default"]), None);
    let almost = ["default".repeat(10)];
    let known = almost.iter().map(String::as_str);
    assert_eq!(crate::problem::nearest(&almost[0], known), None, "too long to be a name");
}
