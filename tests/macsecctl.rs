//! The tool as a process: what it prints where, and what it ends with.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod fake_daemon;

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use fake_daemon::{Rig, degraded, listening, secured};

/// What came of a run: the exit code, standard output, standard error.
type Outcome = (i32, String, String);

fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_macsecctl"));
    command.arg("--socket").arg(socket);
    command
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn macsecctl(rig: &Rig, arguments: &[&str]) -> Outcome {
    run(command(rig.path()).args(arguments))
}

#[test]
fn status_ends_with_what_the_ports_amount_to() {
    for (ports, code) in [
        (vec![secured("eth1")], 0),
        (vec![secured("eth1"), listening("eth2")], 10),
        (vec![degraded("eth1")], 11),
        (vec![], 10),
    ] {
        let rig = Rig::start(ports);
        let (shown, quiet) = (macsecctl(&rig, &["status"]), macsecctl(&rig, &["status", "-q"]));
        assert_eq!(quiet, (code, String::new(), String::new()));
        assert_eq!((shown.0, shown.2), (code, String::new()));
        assert!(!shown.1.is_empty());
    }
}

#[test]
fn status_shows_one_port_where_it_is_named() {
    let rig = Rig::start(vec![secured("eth1"), listening("eth2")]);
    let (code, out, _) = macsecctl(&rig, &["status", "eth1"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("eth1  SECURED  GCM-AES-XPN-256  key-server: self  up 12 s\n"),
        "{out}"
    );
    assert!(!out.contains("eth2"));

    let (code, out, err) = macsecctl(&rig, &["status", "eth7"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "macsecctl: no port of the configuration has the interface eth7\n  \
         `macsecctl status` shows every port and where it stands.\n"
    );
}

#[test]
fn json_is_the_document_in_a_line() {
    let rig = Rig::start(vec![listening("eth2")]);
    let (code, out, err) = macsecctl(&rig, &["status", "--json"]);
    assert_eq!((code, err.as_str()), (10, ""));
    assert!(out.starts_with(r#"{"schema":1,"ports":[{"interface":"eth2","#), "{out}");
    assert_eq!(out.lines().count(), 1);
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
}

#[test]
fn a_watch_prints_a_line_for_each_change_until_the_daemon_goes() {
    let mut rig = Rig::start(vec![listening("eth1")]);
    let mut child = command(rig.path())
        .args(["status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(r#""state":"listening""#));
    rig.fake.publish(vec![secured("eth1")]);
    assert!(lines.any(|line| line.unwrap().contains(r#""state":"secured""#)));

    rig.stop();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut err = String::new();
    child.stderr.unwrap().read_to_string(&mut err).unwrap();
    assert!(err.starts_with("macsecctl: the daemon closed the connection\n"), "{err}");
}

#[test]
fn a_watch_for_people_is_not_drawn_over_where_it_cannot_be() {
    let rig = Rig::start(vec![listening("eth1")]);
    let mut child =
        command(rig.path()).args(["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("eth1  NOT SECURED for 00:00:41  [E002 "), "{first}");
    rig.fake.publish(vec![secured("eth1")]);
    assert!(lines.any(|line| line.unwrap().starts_with("eth1  SECURED")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn whoever_reads_the_output_may_have_enough() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut child = command(rig.path())
        .args(["status", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    rig.fake.publish(vec![listening("eth1")]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    child.stderr.unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}

#[test]
fn wait_ends_when_the_port_is_secured() {
    let rig = Rig::start(vec![listening("eth1")]);
    let child = command(rig.path())
        .args(["wait", "--secured", "eth1", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    rig.fake.publish(vec![secured("eth1")]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"eth1 secured, GCM-AES-XPN-256\n");
}

#[test]
fn wait_ends_with_the_reason_when_the_time_is_up() {
    let rig = Rig::start(vec![secured("eth1"), listening("eth2")]);
    for timeout in ["0", "50ms"] {
        let (code, out, err) = macsecctl(&rig, &["wait", "--secured", "--timeout", timeout]);
        assert_eq!((code, err.as_str()), (10, ""));
        assert_eq!(
            out,
            "eth2 not secured after 0.0 s, listening: \
             E002 the link is up and nothing at all is received\n"
        );
    }
}

#[test]
fn wait_waits_for_a_daemon_that_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("late.sock");
    let child = command(&link)
        .args(["wait", "--secured", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let rig = Rig::start(vec![secured("eth1")]);
    std::os::unix::fs::symlink(rig.path(), &link).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn without_a_daemon_everything_ends_with_3_and_says_how_to_start_it() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("control.sock");
    for arguments in [
        &["status"][..],
        &["status", "-q"],
        &["status", "--json", "--watch"],
        &["wait", "--secured", "--timeout", "0"],
        &["rekey", "eth1"],
        &["reload"],
    ] {
        let (code, out, err) = run(command(&nowhere).args(arguments));
        assert_eq!((code, out.as_str()), (3, ""), "{arguments:?}");
        assert!(err.contains("systemctl start macsecd"), "{err}");
    }
}

#[test]
fn a_change_is_made_or_refused_with_the_code_for_it() {
    let rig = Rig::start(vec![secured("eth1")]);
    let done = macsecctl(&rig, &["rekey", "eth1"]);
    assert_eq!(done, (0, "eth1: a new key is on its way\n".to_owned(), String::new()));
    assert_eq!(rig.fake.rekeys.load(Ordering::SeqCst), 1);

    for (interface, code, said) in [
        ("eth7", 1, "has the interface eth7"),
        ("follower", 1, "the key server is 02:00:00:00:00:02/0001"),
        ("busy", 1, "busy"),
        ("clear", 10, "not secured"),
        ("closed", 4, "root"),
    ] {
        let (ended, out, err) = macsecctl(&rig, &["rekey", interface]);
        assert_eq!((ended, out.as_str()), (code, ""), "{interface}");
        assert!(err.contains(said), "{err}");
    }

    let (code, out, _) = macsecctl(&rig, &["reload"]);
    assert_eq!((code, out.as_str()), (0, "eth1: replay-window 0 -> 64\n"));
    let (code, _, err) = macsecctl(&rig, &["reload"]);
    assert_eq!(code, 78);
    assert!(err.contains("line 3: unknown key `prot`"), "{err}");
}

/// Needs root, to become somebody else; a socket that is open to all stands for one whose group
/// the user is in.
#[test]
fn another_user_is_kept_from_the_socket_or_from_changing_anything() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let rig = Rig::start(vec![secured("eth1")]);
    // Where it was built, nobody may be let in.
    let tool = rig.path().with_file_name("macsecctl");
    std::fs::copy(env!("CARGO_BIN_EXE_macsecctl"), &tool).unwrap();
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new(&tool);
        run(command.arg("--socket").arg(rig.path()).args(arguments).uid(65_534).gid(65_534))
    };
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(rig.path().parent().unwrap(), 0o755);
    let (code, _, err) = nobody(&["status"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("usermod -aG macsecd"), "{err}");

    open(rig.path(), 0o666);
    assert_eq!(nobody(&["status", "-q"]).0, 0);
    for arguments in [&["rekey", "eth1"][..], &["reload"]] {
        let (code, _, err) = nobody(arguments);
        assert_eq!(code, 4);
        assert!(err.contains("only root may ask for this"), "{err}");
    }
    assert_eq!(rig.fake.rekeys.load(Ordering::SeqCst), 0);
    assert_eq!(rig.fake.reloads.load(Ordering::SeqCst), 0);
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let nowhere = Path::new("/nonexistent/control.sock");
    for arguments in [
        &[][..],
        &["explode"],
        &["rekey"],
        &["wait"],
        &["wait", "--secured", "--timeout", "soon"],
        &["status", "-q", "--json"],
    ] {
        let (code, out, err) = run(command(nowhere).args(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
    for arguments in [["--help"], ["--version"]] {
        let (code, out, err) = run(command(nowhere).args(arguments));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("macsecctl"));
    }
}
