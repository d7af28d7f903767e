use super::*;
use crate::oci::Outcome;
use crate::profile::{Demand, Network, Shown};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

/// Names of the vendor's profiles.
const ALL: &str = "debug, default, gpu, notebook, strict";

/// An override directory that belongs to whoever runs the tests.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        for part in ["profiles", "seccomp"] {
            fs::create_dir(directory.path().join(part)).expect("a new directory");
        }
        Self { directory }
    }

    fn write(self, path: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(path), text).expect("written");
        self.mode(path, 0o644)
    }

    fn mode(self, path: &str, mode: u32) -> Self {
        let path = self.directory.path().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
        self
    }

    fn load(&self) -> Result<Library, PolicyError> {
        let owner = fs::metadata(self.directory.path()).expect("it exists").uid();
        Library::load_owned_by(owner, &[self.directory.path()])
    }

    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let text = self.load().expect_err("the directory is faulty").to_string();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

fn vendor_library() -> Library {
    Library::load::<&Path>(&[]).expect("the vendor's policies are valid")
}

#[test]
fn the_default_profile_is_closed() {
    let profile = vendor_library().profile("default").expect("it exists");
    assert_eq!((profile.run_as_uid, profile.run_as_gid), (1000, 1000));
    assert_eq!(profile.network_mode, Network::None);
    assert!(
        profile.read_only_root
            && profile.no_new_privileges
            && profile.drop_all_caps
            && profile.user_ns
    );
    assert_eq!(profile.allowed_caps, Vec::<String>::new());
    assert_eq!(profile.landlock, Demand::BestEffort);
    assert_eq!(profile.max_runtime_usec, 24 * 3600 * 1_000_000);
    let required: Vec<_> =
        profile.show.iter().filter(|shown| !shown.optional).map(|s| s.path.as_str()).collect();
    assert_eq!(required, ["/usr"]);
    assert!(profile.show.iter().any(|shown| shown.path == "/etc/alternatives"));
    assert_eq!(profile.env["PYTHONUNBUFFERED"], "1");
}

#[test]
fn the_other_profiles_are_what_they_say() {
    let library = vendor_library();
    let profile = |name: &str| library.profile(name).expect("it exists");
    let strict = profile("strict");
    assert_eq!((strict.landlock, &strict.networks[..]), (Demand::Required, &[Network::None][..]));
    assert!(strict.pids <= 256);
    assert!(!strict.show.iter().any(|shown| shown.path == "/opt"));
    assert_eq!(profile("notebook").networks[..], [Network::None, Network::Loopback]);
    assert_eq!(profile("notebook").network_mode, Network::Loopback);
    assert_eq!(profile("debug").network_mode, Network::None);
    let with_terminals: Vec<_> = library.names().filter(|name| profile(name).terminals).collect();
    assert_eq!(with_terminals, ["debug", "notebook"]);
    let gpu = profile("gpu");
    assert!(gpu.devices.iter().all(|shown| shown.optional), "it runs where there is none");
    assert!(gpu.devices.iter().any(|shown| crate::devices::matches(&shown.path, "/dev/nvidia0")));
    for name in library.names() {
        assert_eq!(profile(name).privileges(), Vec::<String>::new(), "{name} is for everybody");
        assert_eq!(profile(name).allowed_caps, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn an_unknown_profile_is_answered_with_the_known_ones() {
    let error = vendor_library().profile("defualt").expect_err("it does not exist").to_string();
    assert_eq!(error, format!("unknown profile \"defualt\"; did you mean default? (known: {ALL})"));
    let error = vendor_library().profile("tpu\u{1b}").expect_err("it does not exist").to_string();
    assert_eq!(error, format!("unknown profile \"tpu\\u{{1b}}\"; use one of: {ALL}"));
}

#[test]
fn a_site_adds_profiles_that_inherit() {
    let library = Site::new()
        .write(
            "profiles/lab.toml",
            "extends = \"default\"\nmax_runtime_hours = 2\n[root]\nshow = [\"/srv/models\"]\n\
             [limits]\nmemory = \"4GiB\"\n[env]\nLANG = \"C\"\nTEAM = \"a\"\n",
        )
        .write(
            "profiles/lab-night.toml",
            "extends = \"lab\"\nmax_runtime_hours = 12\nnetwork_mode = \"loopback\"\n",
        )
        .load()
        .expect("both are valid");
    assert_eq!(
        library.names().collect::<Vec<_>>(),
        ["debug", "default", "gpu", "lab", "lab-night", "notebook", "strict"]
    );
    let night = library.profile("lab-night").expect("it exists");
    assert_eq!(night.max_runtime_usec, 12 * 3600 * 1_000_000);
    assert_eq!(night.network_mode, Network::Loopback);
    assert_eq!(night.memory_bytes, Some(4 << 30));
    assert_eq!((night.env["LANG"].as_str(), night.env["TEAM"].as_str()), ("C", "a"));
    assert_eq!(night.env["HOME"], "/tmp");
    assert_eq!(night.show.first().map(|s| s.path.as_str()), Some("/usr"));
    assert_eq!(night.show.last().map(|s| s.path.as_str()), Some("/srv/models"));
    assert_eq!(library.profile("default").expect("it exists").network_mode, Network::None);
}

#[test]
fn a_site_replaces_a_vendor_profile_by_name() {
    let stricter = include_str!("../profiles/default.toml").replace("best-effort\"", "required\"");
    let library =
        Site::new().write("profiles/default.toml", &stricter).load().expect("it is valid");
    assert_eq!(library.profile("default").expect("it exists").landlock, Demand::Required);
}

#[test]
fn inheritance_that_leads_nowhere_is_refused() {
    Site::new()
        .write("profiles/a.toml", "extends = \"b\"\n")
        .write("profiles/b.toml", "extends = \"a\"\n")
        .refused(&[
            "b.toml:1:11: extends: goes in a circle: a → b → a",
            "a.toml:1:11: extends: goes in a circle: b → a → b",
        ]);
    Site::new().write("profiles/a.toml", "extends = \"a\"\n").refused(&["goes in a circle: a → a"]);
    Site::new()
        .write("profiles/a.toml", "extends = \"defaults\"\n")
        .refused(&["no usable profile \"defaults\"", "did you mean default?"]);
    Site::new()
        .write("profiles/a.toml", "extends = \"default\"\n[root]\nshow = [\"/usr/share\"]\n")
        .refused(&["a.toml:3:9: root.show: \"/usr/share\" and \"/usr\" lie within each other"]);
}

#[test]
fn a_profile_that_stands_alone_says_everything() {
    Site::new().write("profiles/bare.toml", "description = \"x\"\n").refused(&[
        "bare.toml:1:1: network_mode: is missing; set it, or inherit it with extends = \"default\"",
        "bare.toml:1:1: limits.pids: is missing",
        "bare.toml:1:1: root.tmp_size: is missing",
    ]);
}

#[test]
fn faults_that_need_the_whole_profile_are_found() {
    Site::new()
        .write(
            "profiles/a.toml",
            "extends = \"default\"\ndrop_all_caps = false\nseccomp_profile = \"default-hard\"\n",
        )
        .refused(&[
            "drop_all_caps: false is refused",
            "seccomp_profile: there is no usable seccomp profile \"default-hard\"",
        ]);
    let site = Site::new().write(
        "profiles/a.toml",
        "extends = \"default\"\ndrop_all_caps = false\nallowed_caps = [\"CAP_SYS_NICE\"]\n",
    );
    let library = site.load().expect("the capability is named");
    assert_eq!(library.profile("a").expect("it exists").allowed_caps, ["CAP_SYS_NICE"]);
}

#[test]
fn a_profile_whose_parts_do_not_fit_is_refused() {
    let site = |profile: &str| {
        let local = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        let text = format!("extends = \"default\"\n{profile}");
        Site::new().write("seccomp/local.json", local).write("profiles/a.toml", &text)
    };
    site("network_mode = \"loopback\"\nseccomp_profile = \"local\"\n").refused(&[
        "a.toml:2:16: network_mode: seccomp profile \"local\" lets no job make an IP socket",
    ]);
    site("network_mode = \"host\"\n")
        .refused(&["a.toml:1:11: landlock: ", "landlock = \"required\""]);
    site("[calls.allow]\nmount = \"to mount\"\n")
        .refused(&["a.toml:3:9: calls.allow.mount: is denied to every job"]);
    site("[root]\nhide = [\"/usr\", \"/srv\"]\n")
        .refused(&["a.toml:3:17: root.hide: \"/srv\" is shown by no parent"]);

    let networks = |profile: &str| {
        let library = site(profile).load().expect("it is sound");
        library.profile("a").expect("it exists").networks.clone()
    };
    assert_eq!(networks("seccomp_profile = \"local\"\n"), [Network::None]);
    assert_eq!(networks(""), [Network::None, Network::Loopback]);
    assert_eq!(
        networks("network_mode = \"host\"\nlandlock = \"required\"\n"),
        [Network::None, Network::Loopback, Network::Host]
    );
}

#[test]
fn a_child_takes_paths_away_and_adds_calls_and_devices() {
    let library = Site::new()
        .write(
            "profiles/a.toml",
            "extends = \"default\"\n[root]\nshow = [\"/srv/a\"]\n\
             devices = [\"/dev/nvidia*\"]\n[calls.allow]\nmq_open = \"queues\"\n",
        )
        .write(
            "profiles/b.toml",
            "extends = \"a\"\n[root]\nhide = [\"/opt\", \"/srv/a\", \"/dev/nvidia*\"]\n\
             show = [\"/srv\"]\ndevices = [\"/dev/infiniband/rdma_cm\"]\n",
        )
        .load()
        .expect("both are valid");
    let paths = |shown: &[Shown]| shown.iter().map(|s| s.path.clone()).collect::<Vec<_>>();
    let (a, b) = (library.profile("a").expect("a"), library.profile("b").expect("b"));
    assert!(paths(&a.show).contains(&"/opt".to_owned()));
    assert!(!paths(&b.show).contains(&"/opt".to_owned()));
    assert_eq!(paths(&b.show).last().map(String::as_str), Some("/srv"));
    assert_eq!(paths(&a.devices), ["/dev/nvidia*"]);
    assert_eq!(paths(&b.devices), ["/dev/infiniband/rdma_cm"]);
    assert_eq!(a.privileges(), ["allows mq_open (calls.allow)"]);
    assert_eq!(
        b.privileges(),
        [
            "reaches other machines by /dev/infiniband/rdma_cm (root.devices)",
            "allows mq_open (calls.allow)"
        ]
    );
    assert_eq!(
        b.privileges_beyond(&a.privileges()),
        ["reaches other machines by /dev/infiniband/rdma_cm (root.devices)"]
    );
    assert_eq!(a.privileges_beyond(&b.privileges()), Vec::<String>::new());
    let open = calls::number("mq_open").expect("a call");
    assert_eq!(library.allowing(open, [0; 6]), ["a", "b"]);
    let filter = library.filter(&b).expect("compiled");
    let told = crate::explain::call(&b, &filter, "mq_open", &[]).expect("a call");
    assert_eq!(told.rule.map(|rule| (rule.key, rule.reason)), {
        Some(("calls.allow".to_owned(), "queues".to_owned()))
    });
}

#[test]
fn files_that_others_could_have_written_are_refused() {
    let text = "extends = \"default\"\n";
    Site::new()
        .write("profiles/a.toml", text)
        .mode("profiles/a.toml", 0o664)
        .refused(&["a.toml: can be written by others (mode 0664)"]);
    Site::new()
        .write("profiles/a.toml", text)
        .mode("profiles", 0o777)
        .refused(&["profiles: can be written by others"]);
    let site = Site::new().write("profiles/a.toml", text);
    let owner = fs::metadata(site.directory.path()).expect("it exists").uid();
    let error = Library::load_owned_by(owner + 1, &[site.directory.path()])
        .expect_err("another owner")
        .to_string();
    assert!(
        error.contains(&format!("belongs to user {owner}, not to user {}", owner + 1)),
        "{error}"
    );
    let site = Site::new().write("seccomp/elsewhere", text);
    symlink(
        site.directory.path().join("seccomp/elsewhere"),
        site.directory.path().join("profiles/a.toml"),
    )
    .expect("linked");
    site.refused(&["a.toml: is not a regular file"]);
    Site::new().write("profiles/Bad Name.toml", text).refused(&["\"Bad Name\" cannot be the name"]);
    Site::new().write("profiles/a.toml", &"#\n".repeat(1 << 20)).refused(&["longer than 1 MiB"]);
}

#[test]
fn a_missing_directory_is_no_fault() {
    let library = Library::load(&["/nonexistent/policies"]).expect("vendor policies are enough");
    assert_eq!(library.names().collect::<Vec<_>>().join(", "), ALL);
}

#[test]
fn a_site_filter_is_used_by_its_profile() {
    let tight = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["execve", "exit_group", "nine_tails"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let library = Site::new()
        .write("seccomp/tight.json", tight)
        .write("profiles/tight.toml", "extends = \"default\"\nseccomp_profile = \"tight\"\n")
        .load()
        .expect("both are valid");
    let filter = library.filter(&library.profile("tight").expect("it exists")).expect("it exists");
    assert_eq!((filter.name.as_str(), filter.allowed), ("tight", 2));
    assert_eq!(filter.unknown, ["nine_tails"]);
}

#[test]
fn a_profile_says_which_denials_are_counted() {
    let library = Site::new()
        .write("profiles/silent.toml", "extends = \"default\"\ndenials = \"silent\"\n")
        .write("profiles/loud.toml", "extends = \"default\"\nquiet_calls = []\n")
        .load()
        .expect("both are valid");
    let filter = |name: &str| {
        library.filter(&library.profile(name).expect("it exists")).expect("it is compiled")
    };
    assert_eq!(filter("silent").counting, None);
    assert_eq!(filter("silent").programs, filter("default").programs);
    let (default, loud) = (filter("default").counting.clone(), filter("loud").counting.clone());
    assert_ne!(default.expect("it counts").program, loud.expect("it counts").program);
    Site::new()
        .write("profiles/a.toml", "extends = \"default\"\nquiet_calls = [\"colne3\"]\n")
        .refused(&[
            "a.toml:2:16: quiet_calls: unknown system call \"colne3\"; did you mean clone3?",
        ]);
}

#[test]
fn of_several_errors_of_a_call_one_is_counted() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97},
        {"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let library = Site::new()
        .write("seccomp/two.json", text)
        .write("profiles/two.toml", "extends = \"default\"\nseccomp_profile = \"two\"\n")
        .load()
        .expect("both are valid");
    let filter = library.filter(&library.profile("two").expect("it exists")).expect("compiled");
    let counting = filter.counting.as_ref().expect("it counts");
    let refusals = &counting.refusals;
    assert_eq!((refusals.errno(41), refusals.errno(0), refusals.default_errno), (97, 38, 38));
    assert_eq!(filter.outcome(41, &[16, 0, 0, 0, 0, 0]), Outcome::Errno(1));
}

#[test]
fn the_agents_filter_and_open_filters_cannot_come_from_a_site() {
    let open = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#;
    Site::new().write("seccomp/agent-base.json", open).refused(&["agent-base holds for every job"]);
    Site::new()
        .write("seccomp/open.json", open)
        .refused(&["defaultAction: lets through every call that no rule names"]);
}

#[test]
fn one_file_can_be_checked_alone() {
    let library = vendor_library();
    let site = Site::new()
        .write("profiles/good.toml", "extends = \"default\"\n")
        .write("profiles/bad.toml", "extends = \"default\"\nuser_ns = false\nrun_as_uid = 0\n")
        .write("seccomp/bad.json", "{");
    let check = |path: &str| library.check_file(&site.directory.path().join(path)).len();
    assert_eq!(check("profiles/good.toml"), 0);
    assert_eq!(check("profiles/bad.toml"), 2);
    assert_eq!(check("seccomp/bad.json"), 1);
    assert_eq!(check("profiles/absent.toml"), 1);
}

#[test]
fn calls_that_no_built_in_profile_allows_are_a_privilege() {
    let mut wide: serde_json::Value =
        serde_json::from_str(include_str!("../seccomp/default-hardened.json")).expect("JSON");
    let rules = wide["syscalls"].as_array_mut().expect("a list");
    rules.push(serde_json::json!({"names": ["mq_open"], "action": "SCMP_ACT_ALLOW"}));
    rules.push(serde_json::json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}));
    let extends = "extends = \"default\"\n";
    let library = Site::new()
        .write("seccomp/wide.json", &wide.to_string())
        // A replaced vendor file is the site's, and no measure.
        .write("seccomp/default-hardened.json", &wide.to_string())
        .write("profiles/wide.toml", &format!("{extends}seccomp_profile = \"wide\"\n"))
        .write("profiles/traced.toml", &format!("{extends}[calls.allow]\nptrace = \"gdb\"\n"))
        .write("profiles/tight.toml", &format!("{extends}seccomp_profile = \"strict\"\n"))
        .load()
        .expect("all are valid");
    let told = |name: &str| library.profile(name).expect("it exists").privileges();
    let more =
        ["allows socket with more arguments (seccomp_profile)", "allows mq_open (seccomp_profile)"];
    assert_eq!((told("wide"), told("default")), (more.map(Into::into).into(), told("wide")));
    assert_eq!(told("traced"), told("wide"), "debug has ptrace for everybody");
    assert_eq!(told("tight"), Vec::<String>::new());
    let overview = library.overview("default").expect("told");
    assert!(overview.iter().any(|line| line.name == "wide" && line.privileges == more));
    let words = crate::profile::in_words(&vec!["x".to_owned(); 20]);
    assert!(words.ends_with("and 14 more (see `fetchmlctl policy show`)"), "{words}");
}

#[test]
fn a_checked_file_knows_those_beside_it() {
    let library = vendor_library();
    let tight = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let site = Site::new()
        .write("profiles/base.toml", "extends = \"default\"\nseccomp_profile = \"tight\"\n")
        .write("profiles/child.toml", "extends = \"base\"\nmax_runtime_hours = 1\n")
        .write("profiles/bad.toml", "extends = \"faulty\"\n")
        .write("profiles/faulty.toml", "extends = \"default\"\n\nuser_ns = false\n")
        .write("profiles/ring.toml", "extends = \"ring-2\"\n")
        .write("profiles/ring-2.toml", "extends = \"ring\"\n")
        .write("seccomp/tight.json", tight);
    let path = |name: &str| site.directory.path().join("profiles").join(name);
    let faults = |name: &str| -> Vec<String> {
        library.check_file(&path(name)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(faults("child.toml"), Vec::<String>::new());
    let (profile, filter) = library.read_file(&path("child.toml")).expect("complete");
    assert_eq!((profile.seccomp_profile.as_str(), filter.allowed), ("tight", 2));
    let told = faults("bad.toml");
    assert!(told.len() == 1 && told[0].contains("faulty.toml:3:11: user_ns: "), "{told:?}");
    let told = faults("ring.toml");
    assert!(told.len() == 1 && told[0].contains("goes in a circle"), "{told:?}");
    let nameless = site.write("profiles/README", "x");
    let told = library.check_file(&nameless.directory.path().join("profiles/README"));
    assert!(!told.is_empty());
}

#[test]
fn faults_that_need_the_whole_have_a_place_too() {
    let library = vendor_library();
    let faults = |file: &str, text: &str| -> Vec<String> {
        library.check_text(file, text).iter().map(ToString::to_string).collect()
    };
    let cases = [
        ("\nextends = \"defautl\"\n", "x.toml:2:11: extends: there is no usable profile"),
        (
            "extends = \"default\"\n\nseccomp_profile = \"none\"\n",
            "x.toml:3:19: seccomp_profile: there is no usable",
        ),
        (
            "extends = \"default\"\n[root]\nhide = [\n  \"/opt\",\n  \"/srv\",\n]\n",
            "x.toml:5:3: root.hide: \"/srv\" is shown by no parent",
        ),
        (
            "extends = \"default\"\n[root]\nshow_optional = [\"/srv\", \"/usr/lib\"]\n",
            "x.toml:3:26: root.show: ",
        ),
        (
            "extends = \"default\"\n[calls.allow]\nmount = \"x\"\n",
            "x.toml:3:9: calls.allow.mount: is denied to every job",
        ),
        (
            "extends = \"strict\"\nnetwork_mode = \"loopback\"\n",
            "x.toml:2:16: network_mode: seccomp profile",
        ),
        (
            "\nextends = \"default\"\nnetwork_mode = \"host\"\n",
            "x.toml:2:11: landlock: with the host's network",
        ),
        ("drop_all_caps = false\n", "x.toml:1:17: drop_all_caps: false is refused"),
        ("description = \"x\"\n", "x.toml:1:1: limits.pids: is missing"),
    ];
    for (text, expected) in cases {
        let found = faults("x.toml", text);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{expected}: {found:#?}");
    }
    let allow = r#"{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}"#;
    let cases = [
        (
            format!("{{\"defaultAction\":\n \"SCMP_ACT_ALLOW\", \"syscalls\": [{allow}]}}"),
            "x.json:2:2: defaultAction: lets through",
        ),
        (
            format!("{{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n \"syscalls\": [{allow}]}}"),
            "x.json:2:14: syscalls: does not allow exit_group",
        ),
        (
            format!(
                "{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{allow},\n{}]}}",
                allow.replace("ALLOW", "ERRNO")
            ),
            "x.json:2:1: syscalls[1] (execve): execve is named twice",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"flags\": [\"x\"]}".to_owned(),
            "x.json:2:10: flags: ",
        ),
    ];
    for (text, expected) in cases {
        let found = faults("x.json", &text);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{expected}: {found:#?}");
    }
}
