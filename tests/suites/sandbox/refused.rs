//! Bad input: a clear error, status 125, nothing started.

use crate::private;

#[test]
fn each_bad_request_is_refused_in_words() {
    let private = private!();
    private.put("file", "");
    let too_long = "x".repeat(200);
    let file = private.project().join("file");
    let file_mount = format!("{}:/data", file.display());
    let project = private.project();
    let here = project.display();
    let (usr, twice, up) =
        (format!("{here}:/usr/x"), format!("{here}:/data"), format!("{here}:/data/../etc"));
    for (arguments, says) in [
        (&["--profile", "nosuch", "--", "true"][..], "nosuch"),
        (&["--", ""], "command"),
        (&[], "command"),
        (&["--dir", "/nonexistent", "--", "true"], "/nonexistent"),
        (&["--dir", "/", "--", "true"], "/"),
        (&["--mount", "/nonexistent:/data", "--", "true"], "/nonexistent"),
        (&["--mount", &file_mount, "--", "true"], "director"),
        (&["--mount", "relative", "--", "true"], "relative"),
        (&["--mount", &usr, "--", "true"], "/usr"),
        (&["--mount", &up, "--", "true"], ".."),
        (&["--mount", &twice, "--mount", &twice, "--", "true"], "/data"),
        (&["--memory", "lots", "--", "true"], "lots"),
        (&["--time-limit", "soon", "--", "true"], "soon"),
        (&["--time-limit", "0s", "--", "true"], "0"),
        (&["--cpus", "-1", "--", "true"], "-1"),
        (&["--pids", "0", "--", "true"], "0"),
        (&["--name", "a\u{1b}[31mb", "--", "true"], "control"),
        (&["--name", &too_long, "--", "true"], "name"),
        (&["--experiment", "../../etc", "--", "true"], "experiment"),
        (&["--env", "FETCHML_X=1", "--", "true"], "FETCHML_"),
        (&["--env", "1BAD=1", "--", "true"], "1BAD"),
        (&["--network", "host", "--", "true"], "host"),
        (&["--nosuchflag", "--", "true"], "nosuchflag"),
    ] {
        let output = private.ctl(std::iter::once(&"run").chain(arguments));
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(says) && output.stderr.contains("error: "), "{output}");
    }
    assert_eq!(private.ctl(["list", "-o", "name"]).ok(), "", "nothing was started");
}

#[test]
fn a_specification_over_one_mebibyte_is_refused() {
    let private = private!();
    private.put("arguments", "x".repeat(1 << 20));
    let value = "x".repeat(100_000);
    let mut arguments = vec!["run".to_owned()];
    for n in 0..12 {
        arguments.extend(["--env".to_owned(), format!("V{n}={value}")]);
    }
    arguments.extend(["--".to_owned(), "true".to_owned()]);
    let output = private.ctl(&arguments);
    output.expect(125);
    assert!(output.says("1 MiB") || output.says("1048576"), "{}", output.stderr);
}

#[test]
fn a_memory_limit_that_cannot_be_kept_is_refused_with_the_remedy() {
    let private = private!();
    let doctor = private.ctl(["doctor", "--json"]);
    if doctor.says("with memory") {
        // This machine can keep it; then it must.
        private.ctl(["run", "--memory", "64M", "--", "true"]).expect(0);
        return;
    }
    let output = private.ctl(["run", "--memory", "64M", "--", "true"]);
    output.expect(125);
    assert!(output.says("memory") && output.says("system service"), "{output}");
}

#[test]
fn a_directory_descriptor_that_proves_nothing_is_refused() {
    let private = private!();
    private.shell("true").ok();
    // O_PATH opens what its holder may not read.
    let script = format!(
        "import dbus, os, dbus.connection\n\
         bus = dbus.connection.Connection('unix:path={}')\n\
         manager = dbus.Interface(bus.get_object(None, '/org/fetchml/FetchML1'), 'org.fetchml.FetchML1.Manager')\n\
         manager.DescribeHost()\n\
         fd = os.open('/root', os.O_PATH)\n\
         try:\n  manager.SubmitJob({{'command': dbus.Array(['true'], signature='s')}}, \
         dbus.Array([('/data', 'ro', 'x', dbus.types.UnixFd(fd))], signature='(sssh)'))\n  print('accepted')\n\
         except dbus.DBusException as e: print(e.get_dbus_name(), e.get_dbus_message())",
        private.socket().display()
    );
    let output =
        std::process::Command::new("/usr/bin/python3").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("org.fetchml.FetchML1.InvalidSpec") && text.contains("O_PATH"),
        "{output:?}"
    );
}
